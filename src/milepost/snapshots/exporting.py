"""Write a table's rows into a file: CSV, JSON Lines or Parquet, also packed with gzip."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, cast

from sqlalchemy import Connection

from milepost.errors import ConfigurationError
from milepost.snapshots.kinds import Kind
from milepost.snapshots.layout import Column
from milepost.snapshots.names import MISFITS
from milepost.snapshots.reading import AT_ONCE, each_row, layout_of
from milepost.whole_files import lines_in, whole

Row = Mapping[str, Any]

FORMATS: Final = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet")


def export(conn: Connection, table_name: str, path: Path, *, deleted: bool = False) -> int:
    """Write the rows of a table into a file, by the format that its name says; returns how many.

    The file is there when all of it is written, and what was there before stays until then.
    `deleted`: with the rows marked so. Raises ConfigurationError for another name.
    """
    suffix = next((each for each in FORMATS if path.name.endswith(each)), None)
    if suffix is None:
        raise ConfigurationError(
            f"{path.name!r} names no format: let it end in {', '.join(FORMATS)}"
        )
    columns = layout_of(conn, table_name).columns
    rows = each_row(conn, table_name, deleted=deleted)
    with whole(path) as file:
        if suffix == ".parquet":
            return _parquet(file, columns, rows)
        with lines_in(file, packed=suffix.endswith(".gz")) as lines:
            return (_csv if suffix.startswith(".csv") else _json_lines)(lines, columns, rows)


def _csv(lines: IO[str], columns: Sequence[Column], rows: Iterable[Row]) -> int:
    writer = csv.writer(lines)
    fields = [column.field for column in columns]
    writer.writerow(fields)
    count = 0
    for row in rows:
        writer.writerow([_cell(row[field]) for field in fields])
        count += 1
    return count


def _cell(value: Any) -> Any:
    match value:
        case None:
            return ""
        case bool() | dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case datetime():
            return _iso(value)
        case _:
            return value


def _json_lines(lines: IO[str], columns: Sequence[Column], rows: Iterable[Row]) -> int:
    del columns
    count = 0
    for row in rows:
        lines.write(json.dumps(row, default=_iso, ensure_ascii=False) + "\n")
        count += 1
    return count


def _parquet(file: IO[bytes], columns: Sequence[Column], rows: Iterator[Row]) -> int:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ConfigurationError("Parquet needs pyarrow: pip install 'milepost[parquet]'") from None
    types = {
        Kind.UNDECIDED: pa.null(),
        Kind.INTEGER: pa.int64(),
        Kind.FLOAT: pa.float64(),
        Kind.BOOLEAN: pa.bool_(),
        Kind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
        Kind.TEXT: pa.string(),
        Kind.JSON: pa.string(),
    }
    schema = pa.schema(
        [
            *((column.field, types[column.kind]) for column in columns),
            (MISFITS, pa.string()),
        ]
    )
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        while page := list(islice(rows, AT_ONCE * 10)):
            parted = [_parted(row, columns) for row in page]
            writer.write_table(pa.Table.from_pylist(parted, schema=schema))
            count += len(page)
    return count


def _parted(row: Row, columns: Sequence[Column]) -> dict[str, Any]:
    """Part what a column of Parquet holds from what stands beside it, as in the table."""
    held: dict[str, Any] = {}
    aside = dict(row)
    for column in columns:
        value = row[column.field]
        if value is not None and column.kind is Kind.JSON:
            value = json.dumps(value, ensure_ascii=False)
        if value is None or type(value) in _HELD[column.kind]:
            held[column.field] = value
            del aside[column.field]
    return {**held, MISFITS: json.dumps(aside, default=_iso) if aside else None}


_HELD: Final[Mapping[Kind, frozenset[type]]] = {
    Kind.UNDECIDED: frozenset(),
    Kind.INTEGER: frozenset({int}),
    Kind.FLOAT: frozenset({float}),
    Kind.BOOLEAN: frozenset({bool}),
    Kind.TIMESTAMP: frozenset({datetime}),
    Kind.TEXT: frozenset({str}),
    Kind.JSON: frozenset({str}),
}


def _iso(value: Any) -> str:
    return cast("datetime", value).isoformat().replace("+00:00", "Z")
