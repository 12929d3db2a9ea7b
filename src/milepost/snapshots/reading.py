"""Read tables back as the records they were written from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from milepost.errors import SnapshotError
from milepost.snapshots import layout as layouts
from milepost.snapshots.destination import Destination, destination_of
from milepost.snapshots.kinds import Kind
from milepost.snapshots.layout import TABLES, Column, Layout
from milepost.snapshots.names import DELETED_AT, SEEN_IN, SYNCED_AT, quoted

_BOOKKEEPING = (
    Column(SEEN_IN, SEEN_IN, Kind.INTEGER),
    Column(SYNCED_AT, SYNCED_AT, Kind.TIMESTAMP),
    Column(DELETED_AT, DELETED_AT, Kind.TIMESTAMP),
)


@dataclass(frozen=True, slots=True)
class TableSummary:
    """One table of a destination; `rows` counts those marked as deleted too."""

    name: str
    relation: str
    rows: int
    deleted: int
    columns: Sequence[Column]


def read_rows(
    conn: Connection,
    table_name: str,
    *,
    limit: int | None = None,
    deleted: bool = True,
    bookkeeping: bool = False,
) -> list[dict[str, Any]]:
    """Read a table's rows as records: by the fields' own names, in the key's order.

    Timestamps are aware and in UTC, JSON is objects; a field that a record missed is None.
    `deleted`: with the rows marked so. `bookkeeping`: with the `_milepost_` columns.
    """
    destination = destination_of(conn)
    layout = _layout(conn, destination, table_name)
    if not layout.created:
        return []
    columns = [*layout.columns, *(_BOOKKEEPING if bookkeeping else ())]
    expressions = ", ".join([*map(destination.readable, columns), "1"])
    where = "" if deleted else f" WHERE {DELETED_AT} IS NULL"
    order = f" ORDER BY {', '.join(map(quoted, layout.key_columns))}" if layout.key else ""
    end = "" if limit is None else f" LIMIT {limit:d}"
    rows = conn.exec_driver_sql(
        f"SELECT {expressions} FROM {quoted(layout.relation)}{where}{order}{end}"
    )
    return [
        {
            column.field: _decoded(column.kind, value)
            for column, value in zip(columns, row, strict=False)
        }
        for row in rows
    ]


def list_tables(conn: Connection) -> list[TableSummary]:
    """List the destination's tables, sorted by name."""
    destination = destination_of(conn)
    if not destination.has(conn, TABLES.name):
        return []
    return [_summary(conn, _layout(conn, destination, name)) for name in layouts.names(conn)]


def _summary(conn: Connection, layout: Layout) -> TableSummary:
    rows = deleted = 0
    if layout.created:
        counted = f"SELECT count(*), count({DELETED_AT}) FROM {quoted(layout.relation)}"
        rows, deleted = conn.exec_driver_sql(counted).one()
    return TableSummary(layout.name, layout.relation, rows, deleted, layout.columns)


def _layout(conn: Connection, destination: Destination, name: str) -> Layout:
    known = layouts.names(conn) if destination.has(conn, TABLES.name) else []
    layout = layouts.find(conn, name) if name in known else None
    if layout is None:
        raise SnapshotError(f"no table {name!r} here; there are: {', '.join(known) or 'none'}")
    return layout


def _decoded(kind: Kind, value: Any) -> Any:
    if value is None:
        return None
    match kind:
        case Kind.BOOLEAN:
            return bool(value)
        case Kind.TIMESTAMP:
            return datetime.fromisoformat(value).astimezone(UTC)
        case Kind.JSON:
            return json.loads(value)
        case _:
            return value
