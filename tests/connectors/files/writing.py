"""Writes the same records in every format and compression."""

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from backports import zstd
from pyarrow import parquet

Records = Sequence[Mapping[str, Any]]

TEXT_FORMATS = ("csv", "jsonl", "json")
ENDINGS = ("", ".gz", ".zst")
WRITTEN = [f"{name}{ending}" for name in TEXT_FORMATS for ending in ENDINGS] + ["parquet"]


def written(records: Records, ending: str, names: Sequence[str] = ("id", "text")) -> bytes:
    """Write records as a file with this ending: `csv.gz`."""
    name, _, packed = ending.partition(".")
    raw = _WRITERS[name](records, names)
    match packed:
        case "gz":
            # Two members, as `cat a.gz b.gz` makes them.
            half = len(raw) // 2
            return gzip.compress(raw[:half]) + gzip.compress(raw[half:])
        case "zst":
            half = len(raw) // 2
            return _zstd(raw[:half]) + _zstd(raw[half:])
        case _:
            return raw


def _zstd(raw: bytes) -> bytes:
    # As the command does it, and its library does not.
    return zstd.compress(raw, options={zstd.CompressionParameter.checksum_flag: 1})


def _csv(records: Records, names: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def _jsonl(records: Records, names: Sequence[str]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def _json(records: Records, names: Sequence[str]) -> bytes:
    return json.dumps({"data": list(records), "errors": []}).encode()


def _parquet(records: Records, names: Sequence[str]) -> bytes:
    sink = io.BytesIO()
    table = pa.Table.from_pylist(
        [dict(each) for each in records], pa.schema([("id", pa.int64()), ("text", pa.string())])
    )
    parquet.write_table(table, sink, row_group_size=7)
    return sink.getvalue()


_WRITERS = {"csv": _csv, "jsonl": _jsonl, "json": _json, "parquet": _parquet}
