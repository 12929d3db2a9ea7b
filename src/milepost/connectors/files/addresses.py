"""What a file's address says: where it is, which files a pattern means, how they are written."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from milepost.connectors.naming import table_name

_FORMATS: Final[Mapping[str, str]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
PACKED: Final[Mapping[str, str]] = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_WILD: Final = re.compile(r"[*?\[]")


def scheme_of(address: str) -> str:
    """Tell the scheme of a URL; empty for a path."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", address)
    return found[1].lower() if found else ""


def is_http(address: str) -> bool:
    """Whether a web server has it."""
    return scheme_of(address) in {"http", "https"}


def is_remote(address: str) -> bool:
    """Whether it is a URL, or a template that may stand for one."""
    return scheme_of(address) not in {"", "file"} or address.startswith("$")


def is_file_url(address: str) -> bool:
    """Whether the path of an http URL ends as files do. `.json` does not tell: APIs end so too."""
    return is_http(address) and format_of(address) is not None and not _ends_in_json(address)


def format_of(address: str) -> str | None:
    """Tell the format by the ending before that of the compression; None where it tells none."""
    name = path_of(address).lower()
    for ending in PACKED:
        name = name.removesuffix(ending)
    _, dot, ending = name.rpartition(".")
    return _FORMATS.get(dot + ending)


def compression_of(address: str) -> str | None:
    """Tell the compression by the last ending."""
    _, dot, ending = path_of(address).lower().rpartition(".")
    return PACKED.get(dot + ending)


def is_pattern(address: str) -> bool:
    """Whether it has wildcards; in an http URL a question mark begins the query."""
    return not is_http(address) and _WILD.search(address) is not None


def fixed_part(pattern: str) -> str:
    """Take what stands before the first wildcard: `data/2024-*.csv` is `data/2024-`."""
    return pattern if is_http(pattern) else _WILD.split(pattern, maxsplit=1)[0]


def table_of(address: str) -> str:
    """Name the table by the file, or by what is fixed in the pattern."""
    if is_http(address):
        return table_name(address)
    return table_name(fixed_part(address).rpartition("://")[2])


def path_of(address: str) -> str:
    """Take the path of an http URL; any other address is one."""
    return urlsplit(address).path if is_http(address) else address


def password_of(address: str) -> str:
    """Take the password out of a URL; empty without one."""
    found = re.match(r"[^:/]+://[^:/@]*:([^/]*)@", address)
    return found[1] if found else ""


def _ends_in_json(address: str) -> bool:
    return path_of(address).lower().endswith(".json")
