"""A pass: one complete reading of a source's table, in as many transactions as it has pages.

A pass may be interrupted anywhere and go on later, by its number. Each row knows the latest pass
that has seen it, so that the end of a pass knows which rows the source no longer has.
"""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    TableClause,
    column,
    delete,
    func,
    literal,
    select,
    update,
)
from sqlalchemy import table as relation_of

from milepost.errors import SnapshotError
from milepost.snapshots import layout as layouts
from milepost.snapshots.destination import Destination, destination_of
from milepost.snapshots.evolution import grow
from milepost.snapshots.kinds import Kind
from milepost.snapshots.layout import TABLES, Column, Layout, TableSpec
from milepost.snapshots.names import DELETED_AT, SEEN_IN, column_name, quoted


def begin_pass(conn: Connection, table: TableSpec) -> int:
    """Begin a pass over a table and return its number: 1, 2, 3 and so on.

    A table without a row begins anew where the key is another one: nothing is told apart yet.
    Raises SnapshotError where the destination's table has another key or is not ours.
    """
    destination = destination_of(conn)
    layout = _find(conn, destination, table.name)
    if layout is None:
        destination.lock(conn)
        TABLES.create(conn, checkfirst=True)
        # Another transaction may have added it while this one waited for the lock.
        layout = layouts.find(conn, table.name, hold=True) or layouts.add(conn, table)
    exists = destination.has(conn, layout.relation)
    if exists and not layout.created:
        raise SnapshotError(
            f"table {table.name!r}: the destination has something named {layout.relation!r} that "
            "Milepost did not make: rename it, or download into another database or schema"
        )
    if exists and layout.key != table.key and not _has_rows(conn, layout):
        conn.exec_driver_sql(f"DROP TABLE {quoted(layout.relation)}")
        exists = False
    if layout.created and not exists:
        layout = replace(layout, columns=(), created=False, complete_pass=0)
    if not layout.created:
        layout = replace(layout, key=table.key)
    _check_key(layout, table)
    layout = replace(layout, last_pass=layout.last_pass + 1)
    layouts.save(conn, layout)
    return layout.last_pass


def finish_pass(
    conn: Connection, table: TableSpec, pass_number: int, *, at: datetime, twice: bool = False
) -> int:
    """End a complete pass; returns how many rows that changed for.

    upsert: rows that the pass has not seen are marked as deleted at that moment; with `twice` only
    those that the complete pass before it has not seen either. replace: the rows of older passes
    are deleted. append: nothing. Doing it again changes nothing more.
    """
    destination = destination_of(conn)
    layout = hold(conn, destination, table, pass_number)
    if not layout.created:
        layout = _with_key(layout)
        grow(conn, destination, replace(layout, created=False), layout)
    layouts.save(conn, replace(layout, complete_pass=max(layout.complete_pass, pass_number)))
    rows = _rows(layout)
    unseen = _unseen(rows, layout, table, pass_number, twice=twice)
    match table.mode:
        case "upsert":
            mark = literal(destination.moment(at))
            return conn.execute(update(rows).where(unseen).values({DELETED_AT: mark})).rowcount
        case "replace":
            return conn.execute(delete(rows).where(unseen)).rowcount
        case "append":
            return 0


def count_unseen(
    conn: Connection, table: TableSpec, pass_number: int, *, twice: bool = False
) -> int:
    """Count the rows that `finish_pass` would change."""
    destination = destination_of(conn)
    layout = hold(conn, destination, table, pass_number)
    if not layout.created or table.mode == "append":
        return 0
    rows = _rows(layout)
    unseen = _unseen(rows, layout, table, pass_number, twice=twice)
    return conn.execute(select(func.count()).select_from(rows).where(unseen)).scalar_one()


def count_living(conn: Connection, table: TableSpec) -> int:
    """Count the rows that stand for records of the source, as far as the last pass knows.

    upsert: those that are not marked as deleted. replace: those of the latest complete pass.
    append: none, because no pass takes them away.
    """
    layout = _find(conn, destination_of(conn), table.name)
    if layout is None or not layout.created or table.mode == "append":
        return 0
    rows = _rows(layout)
    living = (
        rows.c[DELETED_AT].is_(None)
        if table.mode == "upsert"
        else rows.c[SEEN_IN] == layout.complete_pass
    )
    return conn.execute(select(func.count()).select_from(rows).where(living)).scalar_one()


def stored_key(conn: Connection, table_name: str) -> tuple[str, ...] | None:
    """The key of a table that the destination has; None where it has no such table, or no row."""
    destination = destination_of(conn)
    layout = _find(conn, destination, table_name)
    if layout is None or not layout.created or not destination.has(conn, layout.relation):
        return None
    return layout.key if _has_rows(conn, layout) else None


def hold(conn: Connection, destination: Destination, table: TableSpec, pass_number: int) -> Layout:
    """Read a table's layout for a pass that goes on, keeping other writers out until the commit."""
    layout = _find(conn, destination, table.name)
    if layout is None or not 1 <= pass_number <= layout.last_pass:
        raise SnapshotError(
            f"table {table.name!r}: pass {pass_number} was never begun in this destination; "
            "was it emptied or restored? Begin the download again, from its beginning"
        )
    _check_key(layout, table)
    return layout


def _rows(layout: Layout) -> TableClause:
    return relation_of(layout.relation, column(SEEN_IN, BigInteger), column(DELETED_AT))


def _unseen(
    rows: TableClause, layout: Layout, table: TableSpec, pass_number: int, *, twice: bool
) -> ColumnElement[bool]:
    """Select the rows that the end of a pass is about; `layout` as it was before the end."""
    if table.mode != "upsert":
        return rows.c[SEEN_IN] < pass_number
    since = pass_number
    if twice:
        # After its end a pass is the complete one itself: then there is nothing more to mark.
        before = layout.complete_pass
        since = 0 if before == pass_number else min(before, pass_number)
    return (rows.c[SEEN_IN] < since) & rows.c[DELETED_AT].is_(None)


def _find(conn: Connection, destination: Destination, name: str) -> Layout | None:
    if not destination.has(conn, TABLES.name):
        return None
    return layouts.find(conn, name, hold=True)


def _has_rows(conn: Connection, layout: Layout) -> bool:
    query = f"SELECT 1 FROM {quoted(layout.relation)} LIMIT 1"
    return conn.exec_driver_sql(query).first() is not None


def _check_key(layout: Layout, table: TableSpec) -> None:
    if layout.key != table.key:
        raise SnapshotError(
            f"table {table.name!r}: its rows in the destination are told apart by "
            f"{_listed(layout.key)}, this download tells them apart by {_listed(table.key)}: "
            f"drop the table {layout.relation!r} there and begin again, or download into another "
            "database"
        )


def _listed(key: tuple[str, ...]) -> str:
    return ", ".join(map(repr, key)) or "nothing"


def _with_key(layout: Layout) -> Layout:
    """Lay out a table of which no record has come: its key columns hold nothing yet."""
    columns: list[Column] = []
    for field in layout.key:
        name = column_name(field, (column.name for column in columns))
        columns.append(Column(field, name, Kind.UNDECIDED))
    return replace(layout, columns=tuple(columns), created=True)
