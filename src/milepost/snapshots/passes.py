"""A pass: one complete reading of a source's table, in as many transactions as it has pages.

A pass may be interrupted anywhere and go on later, by its number. Each row knows the latest pass
that has written it, and `milepost_seen` the rows that a pass left as they were, so that the end of
a pass knows which rows the source no longer has.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

from sqlalchemy import ColumnElement, Connection, delete, text
from sqlalchemy.schema import CreateTable

from milepost.errors import SnapshotError
from milepost.snapshots import layout as layouts
from milepost.snapshots import ledger
from milepost.snapshots.destination import Destination, destination_of
from milepost.snapshots.evolution import declare, grow
from milepost.snapshots.kinds import Kind
from milepost.snapshots.layout import TABLES, Column, Layout, NothingHere, Part, TableSpec
from milepost.snapshots.ledger import PASSES
from milepost.snapshots.names import DELETED_AT, PASS, ROW, column_name, quoted
from milepost.snapshots.quarantine import QUARANTINE
from milepost.snapshots.seen import SEEN, forget_seen


def begin_pass(conn: Connection, table: TableSpec) -> int:
    """Begin a pass over a table and return its number: 1, 2, 3 and so on.

    A table without a row begins anew where the key is another one: nothing is told apart yet.
    Raises SnapshotError where the destination's table has another key or is not ours.
    """
    destination = destination_of(conn)
    layout = _find(conn, destination, table.name)
    if layout is None:
        destination.lock(conn)
        for ours in (TABLES, PASSES, SEEN, QUARANTINE):
            conn.execute(CreateTable(ours, if_not_exists=True))
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
    forget_seen(conn, table.name, before=layout.complete_pass)
    if table.mode == "replace":
        _begin_coming(conn, destination, table)
    if table.history and layouts.find(conn, table.name, part="history") is None:
        destination.lock(conn)
        layouts.add(conn, table, part="history")
    ledger.open_entry(conn, table.name, layout.last_pass, at=datetime.now(UTC))
    return layout.last_pass


def finish_pass(
    conn: Connection, table: TableSpec, pass_number: int, *, at: datetime, twice: bool = False
) -> int:
    """End a complete pass; returns how many rows that changed for.

    upsert: rows that the pass has not seen are marked as deleted at that moment; with `twice` only
    those that the complete pass before it has not seen either. replace: the rows of the pass take
    the place of all others. append: nothing. Doing it again changes nothing more, and neither does
    the end of a pass after which another one has begun: that one will tell.
    """
    destination = destination_of(conn)
    layout = hold(conn, table, pass_number)
    gone = 0
    if pass_number == layout.last_pass:
        if not layout.created and table.mode != "replace":
            layout = _with_key(declare(layout, table.columns))
            grow(conn, destination, replace(layout, created=False), layout)
        unseen = _unseen(destination, layout, table, pass_number, twice=twice)
        if table.mode == "replace":
            gone, layout = _replace(conn, destination, table, layout)
        elif table.mode == "upsert":
            marked = text(f"UPDATE {quoted(layout.relation)} SET {DELETED_AT} = :at WHERE {unseen}")
            given = {"name": table.name, "at": destination.moment(at)}
            gone = conn.execute(marked, given).rowcount
        layouts.save(conn, replace(layout, complete_pass=pass_number))
        forget_seen(conn, table.name, before=pass_number)
    ledger.close_entry(conn, table.name, pass_number, at=at, deleted=gone)
    return gone


def end_pass(
    conn: Connection, table: TableSpec, pass_number: int, *, at: datetime, kept: str | None = None
) -> None:
    """End a pass that takes no row for gone; `kept` says why not, if it might have."""
    hold(conn, table, pass_number)
    forget_seen(conn, table.name, by=pass_number)
    ledger.close_entry(conn, table.name, pass_number, at=at, kept=kept)


def withdraw_pass(conn: Connection, table: TableSpec, pass_number: int) -> int:
    """Take back what a pass without an end has added; returns how many rows that were.

    With a key it is left: whoever reads the records again finds the same rows.
    """
    layout = hold(conn, table, pass_number)
    ledger.close_entry(conn, table.name, pass_number, at=datetime.now(UTC), kept="taken back")
    if table.mode == "replace":
        found = layouts.find(conn, table.name, part="coming")
        layout = layout if found is None else found
    if not layout.created or table.mode == "upsert":
        return 0
    taken = f"DELETE FROM {quoted(layout.relation)} WHERE {PASS} = {pass_number:d}"
    return conn.exec_driver_sql(taken).rowcount


def count_unseen(
    conn: Connection, table: TableSpec, pass_number: int, *, twice: bool = False
) -> int:
    """Count the rows that `finish_pass` would change."""
    destination = destination_of(conn)
    layout = hold(conn, table, pass_number)
    if not layout.created or table.mode == "append" or pass_number < layout.last_pass:
        return 0
    unseen = _unseen(destination, layout, table, pass_number, twice=twice)
    return _count(conn, layout, unseen)


def count_living(conn: Connection, table: TableSpec) -> int:
    """Count the rows that stand for records of the source, as far as the last pass knows.

    upsert: those that are not marked as deleted. replace: all. append: none, because no pass takes
    them away.
    """
    layout = _find(conn, destination_of(conn), table.name)
    if layout is None or not layout.created or table.mode == "append":
        return 0
    return _count(conn, layout, f"{DELETED_AT} IS NULL")


def stored_key(conn: Connection, table_name: str) -> tuple[str, ...] | None:
    """The key of a table that the destination has; None where it has no such table, or no row."""
    destination = destination_of(conn)
    layout = _find(conn, destination, table_name)
    if layout is None or not layout.created or not destination.has(conn, layout.relation):
        return None
    return layout.key if _has_rows(conn, layout) else None


def has_rows(conn: Connection, table_name: str) -> bool:
    """Whether the destination has such a table, and a row in it."""
    return stored_key(conn, table_name) is not None


def drop_table(conn: Connection, table_name: str) -> bool:
    """Drop a table with all that is kept about it; False where there is none."""
    destination = destination_of(conn)
    if _find(conn, destination, table_name) is None:
        return False
    for part in get_args(Part):
        layout = layouts.find(conn, table_name, part=part)
        if layout is not None:
            if layout.created:
                conn.exec_driver_sql(f"DROP TABLE IF EXISTS {quoted(layout.relation)}")
            layouts.remove(conn, layout)
    for kept in (SEEN, PASSES, QUARANTINE):
        conn.execute(delete(kept).where(kept.c.name == table_name))
    return True


def hold(
    conn: Connection, table: TableSpec, pass_number: int, *, also: Sequence[ColumnElement[Any]] = ()
) -> Layout:
    """Read a table's layout for a pass that goes on, keeping other writers out until the commit."""
    try:
        layout = layouts.find(conn, table.name, hold=True, also=also)
    except NothingHere:
        layout = None
    if layout is None or not 1 <= pass_number <= layout.last_pass:
        raise SnapshotError(
            f"table {table.name!r}: pass {pass_number} was never begun in this destination; "
            "was it emptied or restored? Begin the download again, from its beginning"
        )
    _check_key(layout, table)
    return layout


def layout_to_fill(
    conn: Connection, destination: Destination, table: TableSpec, pass_number: int
) -> Layout:
    """Hold a table and say what a pass over it fills."""
    layout = hold(conn, table, pass_number, also=destination.when_filling)
    if table.mode != "replace":
        return layout
    coming = layouts.find(conn, table.name, part="coming")
    if coming is None or pass_number != layout.last_pass:
        raise SnapshotError(
            f"table {table.name!r}: another download has begun to replace it since this one did: "
            "let that one finish"
        )
    return coming


def _begin_coming(conn: Connection, destination: Destination, table: TableSpec) -> None:
    """Begin what is to take a table's place; whatever a pass without an end left goes."""
    destination.lock(conn)
    left = layouts.find(conn, table.name, part="coming")
    if left is not None:
        if left.created:
            conn.exec_driver_sql(f"DROP TABLE IF EXISTS {quoted(left.relation)}")
        layouts.remove(conn, left)
    layouts.add(conn, table, part="coming")


def _replace(
    conn: Connection, destination: Destination, table: TableSpec, layout: Layout
) -> tuple[int, Layout]:
    """Put what a pass has filled in the table's place; returns how many rows were there."""
    coming = layouts.find(conn, table.name, part="coming")
    if coming is None:
        return 0, layout
    gone = _count(conn, layout, "1 = 1") if layout.created else 0
    if not coming.created:
        wanted = replace(declare(coming, table.columns), created=True)
        coming = grow(conn, destination, coming, wanted)
    destination.take_place(conn, layout, coming)
    layouts.remove(conn, coming)
    return gone, replace(layout, columns=coming.columns, created=True)


def _unseen(
    destination: Destination, layout: Layout, table: TableSpec, pass_number: int, *, twice: bool
) -> str:
    """Select the rows that the end of a pass is about; `layout` as it was before the end."""
    if table.mode != "upsert":
        return "1 = 1"
    since = pass_number
    if twice:
        # After its end a pass is the complete one itself: then there is nothing more to mark.
        before = layout.complete_pass
        since = 0 if before == pass_number else min(before, pass_number)
    lines = f"{SEEN.name}.name = :name AND {SEEN.name}.pass >= {since:d}"
    unseen = destination.unseen(f"{quoted(layout.relation)}.{ROW}", lines)
    return f"{PASS} < {since:d} AND {DELETED_AT} IS NULL AND {unseen}"


def _count(conn: Connection, layout: Layout, condition: str) -> int:
    query = text(f"SELECT count(*) FROM {quoted(layout.relation)} WHERE {condition}")
    given = {"name": layout.name} if ":name" in condition else {}
    return int(conn.execute(query, given).scalar_one())


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
    columns = list(layout.columns)
    for field in layout.key:
        if field not in {column.field for column in columns}:
            name = column_name(field, (column.name for column in columns))
            columns.append(Column(field, name, Kind.UNDECIDED))
    return replace(layout, columns=tuple(columns), created=True)
