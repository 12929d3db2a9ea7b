"""Names a table by where it comes from."""

import re
from urllib.parse import unquote, urlsplit


def table_name(address: str) -> str:
    """Take the last part of a URL or a path: `https://x/v1/line-items.json` is `line_items`."""
    path = urlsplit(address).path if "://" in address else address.partition("?")[0]
    last = unquote(path.rstrip("/").rpartition("/")[2])
    stem = re.sub(
        r"\.(json|jsonl|ndjson|csv|tsv|parquet|pq)(\.(gz|zst|zstd))?$",
        "",
        last,
        flags=re.IGNORECASE,
    )
    return re.sub(r"\W+", "_", stem).strip("_") or "records"
