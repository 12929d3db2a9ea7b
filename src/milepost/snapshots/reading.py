"""Read tables back as the records they were written from."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import Connection, text

from milepost.errors import SnapshotError
from milepost.snapshots import layout as layouts
from milepost.snapshots.destination import Destination, destination_of
from milepost.snapshots.kinds import Kind, encode
from milepost.snapshots.layout import TABLES, Column, Layout
from milepost.snapshots.misfits import restored
from milepost.snapshots.names import (
    DELETED_AT,
    FIRST_PASS,
    HASH,
    MISFITS,
    PASS,
    SYNCED_AT,
    quoted,
)

AT_ONCE: Final = 1000

_BOOKKEEPING: Final = (
    Column(PASS, PASS, Kind.INTEGER),
    Column(FIRST_PASS, FIRST_PASS, Kind.INTEGER),
    Column(SYNCED_AT, SYNCED_AT, Kind.TIMESTAMP),
    Column(DELETED_AT, DELETED_AT, Kind.TIMESTAMP),
    Column(HASH, HASH, Kind.INTEGER),
)


@dataclass(frozen=True, slots=True)
class TableSummary:
    """One table of a destination; `rows` counts those marked as deleted too."""

    name: str
    relation: str
    rows: int
    deleted: int
    columns: Sequence[Column]


@dataclass(frozen=True, slots=True)
class Version:
    """What a row was from one moment to another; `until` is None for what it still is."""

    record: dict[str, Any]
    since: datetime
    until: datetime | None


def read_rows(
    conn: Connection,
    table_name: str,
    *,
    limit: int | None = None,
    deleted: bool = True,
    bookkeeping: bool = False,
) -> list[dict[str, Any]]:
    """Read a table's rows as records: by the fields' own names, in the key's order.

    Timestamps are aware and in UTC, JSON is objects; a field that a record missed is None. A value
    that stands beside its column, because that cannot hold it, is in its field.
    `deleted`: with the rows marked so. `bookkeeping`: with the `_milepost_` columns.
    """
    return list(each_row(conn, table_name, limit=limit, deleted=deleted, bookkeeping=bookkeeping))


def each_row(
    conn: Connection,
    table_name: str,
    *,
    limit: int | None = None,
    deleted: bool = True,
    bookkeeping: bool = False,
) -> Iterator[dict[str, Any]]:
    """Read a table's rows one by one, as `read_rows` does, without holding all of them.

    Execute nothing else on the connection meanwhile: DuckDB would end the reading, silently.
    """
    destination = destination_of(conn)
    layout = _layout(conn, destination, table_name)
    if not layout.created:
        return
    columns = [*layout.columns, *(_BOOKKEEPING if bookkeeping else ())]
    expressions = ", ".join([*map(destination.readable, columns), MISFITS])
    where = "" if deleted else f" WHERE {DELETED_AT} IS NULL"
    order = f" ORDER BY {', '.join(map(quoted, layout.key_columns))}" if layout.key else ""
    end = "" if limit is None else f" LIMIT {limit:d}"
    rows = conn.execute(
        text(f"SELECT {expressions} FROM {quoted(layout.relation)}{where}{order}{end}"),
        execution_options={"yield_per": AT_ONCE},
    )
    for row in rows:
        yield _record(columns, row)


def read_versions(
    conn: Connection, table_name: str, key: Sequence[Any] | None = None
) -> list[Version]:
    """Read what a table's rows were and are, each version with the time for which it held.

    `key`: those of one record, by the values of its key. The oldest comes first. Where the table
    has no history, each row is its one version.
    """
    destination = destination_of(conn)
    layout = _layout(conn, destination, table_name)
    history = layouts.find(conn, table_name, part="history")
    parts = [each for each in (history, layout) if each is not None and each.created]
    versions = [
        version
        for part in parts
        for version in _versions(conn, destination, layout, part.relation, *_is_key(layout, key))
    ]
    return sorted(versions, key=attrgetter("since"))


def read_older(
    conn: Connection, table_name: str, *, since: int, at: datetime
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Read what rows were at a moment, by their keys, where a pass or a later one has written them.

    Empty where the table has no history.
    """
    destination = destination_of(conn)
    layout = _layout(conn, destination, table_name)
    history = layouts.find(conn, table_name, part="history")
    if history is None or not history.created or not layout.created:
        return {}
    relation, kept = quoted(layout.relation), quoted(history.relation)
    same = [f"now.{name} = {kept}.{name}" for name in map(quoted, layout.key_columns)]
    written = " AND ".join([f"now.{PASS} >= {since:d}", *same])
    condition = (
        f" WHERE {SYNCED_AT} < :at AND EXISTS (SELECT 1 FROM {relation} AS now WHERE {written}) "
        f"ORDER BY {SYNCED_AT}"
    )
    given = {"at": destination.moment(at)}
    found = _versions(conn, destination, layout, history.relation, condition, given)
    return {tuple(each.record[field] for field in layout.key): each.record for each in found}


def _versions(
    conn: Connection,
    destination: Destination,
    layout: Layout,
    relation: str,
    condition: str,
    given: Mapping[str, Any],
) -> Iterator[Version]:
    columns = [*layout.columns, *_BOOKKEEPING]
    expressions = ", ".join([*map(destination.readable, columns), MISFITS])
    rows = conn.execute(text(f"SELECT {expressions} FROM {quoted(relation)}{condition}"), given)
    for row in rows:
        record = _record(columns, row)
        ours = {column.name: record.pop(column.name) for column in _BOOKKEEPING}
        yield Version(record, ours[SYNCED_AT], ours[DELETED_AT])


def _is_key(layout: Layout, key: Sequence[Any] | None) -> tuple[str, dict[str, Any]]:
    if key is None:
        return "", {}
    if len(key) != len(layout.key):
        raise SnapshotError(
            f"table {layout.name!r}: {len(key)} values are no key of it, which has "
            f"{', '.join(layout.key) or 'none'}"
        )
    columns = {column.field: column for column in layout.columns}
    equal, given = [], {}
    for number, (field, value) in enumerate(zip(layout.key, key, strict=True)):
        column = columns[field]
        [given[f"key{number}"]] = encode([value], {type(value)}, column.kind)
        equal.append(f"{quoted(column.name)} = :key{number}")
    return f" WHERE {' AND '.join(equal)}", given


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


def layout_of(conn: Connection, table_name: str) -> Layout:
    """Find a table's layout. Raises SnapshotError that names those that there are."""
    return _layout(conn, destination_of(conn), table_name)


def _layout(conn: Connection, destination: Destination, name: str) -> Layout:
    known = layouts.names(conn) if destination.has(conn, TABLES.name) else []
    layout = layouts.find(conn, name) if name in known else None
    if layout is None:
        raise SnapshotError(f"no table {name!r} here; there are: {', '.join(known) or 'none'}")
    return layout


def _record(columns: Sequence[Column], row: Sequence[Any]) -> dict[str, Any]:
    record = {
        column.field: _decoded(column.kind, value)
        for column, value in zip(columns, row, strict=False)
    }
    return record if row[-1] is None else record | restored(row[-1])


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
