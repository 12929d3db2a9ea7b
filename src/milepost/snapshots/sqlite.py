"""Snapshots in SQLite.

Booleans are 0 and 1; JSON is text; a timestamp is the text that the source gave, so that it
survives as it was. Types are declared so that their affinity never changes a stored value.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import repeat
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from milepost.snapshots.creating import create_key_index, create_table
from milepost.snapshots.destination import Outcome, Rows
from milepost.snapshots.kinds import Kind, convert
from milepost.snapshots.layout import Column, Layout
from milepost.snapshots.names import (
    DELETED_AT,
    FIRST_PASS,
    HASH,
    MISFITS,
    PASS,
    ROW,
    SYNCED_AT,
    quoted,
)
from milepost.snapshots.seen import SEEN
from milepost.snapshots.upserts import KEPT, SAME, STORED, on_conflict

# No declared type has no affinity: an undecided column can become any kind and nothing is rebuilt.
# Declared as TIMESTAMP or JSON a column would have numeric affinity, and '5' would turn into 5.
_DECLARED: Final = {
    Kind.UNDECIDED: "",
    Kind.INTEGER: "INTEGER",
    Kind.FLOAT: "REAL",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.TIMESTAMP: "TEXT",
    Kind.TEXT: "TEXT",
    Kind.JSON: "TEXT",
}
_BOOKKEEPING: Final = {
    ROW: "INTEGER PRIMARY KEY",
    PASS: "INTEGER NOT NULL",
    FIRST_PASS: "INTEGER NOT NULL",
    SYNCED_AT: "TEXT NOT NULL",
    DELETED_AT: "TEXT",
    HASH: "INTEGER NOT NULL",
    MISFITS: "TEXT",
}
_REBUILT: Final = "_milepost_rebuilt"


class SqliteDestination:
    """Keeps snapshots in a SQLite file. Writers run one at a time: nothing needs a lock."""

    holds_nul = True
    has_savepoints = True
    enough = 5000
    works_apart = False
    when_filling = ()

    def lock(self, conn: Connection) -> None:
        """Do nothing: the caller's BEGIN IMMEDIATE is the lock."""

    def has(self, conn: Connection, relation: str) -> bool:
        """Tell whether the name is taken; an index takes one too."""
        query = "SELECT 1 FROM sqlite_master WHERE lower(name) = lower(?)"
        return conn.exec_driver_sql(query, (relation,)).first() is not None

    def create(self, conn: Connection, layout: Layout) -> None:
        """Create the table with its key's unique index."""
        create_table(conn, layout.relation, layout, _DECLARED, _BOOKKEEPING)
        create_key_index(conn, layout)

    def alter(self, conn: Connection, before: Layout, after: Layout) -> None:
        """Add columns; rebuild the table once for all columns that widen."""
        relation = quoted(after.relation)
        for column in after.columns[len(before.columns) :]:
            declared = f"{quoted(column.name)} {_DECLARED[column.kind]}"
            conn.exec_driver_sql(f"ALTER TABLE {relation} ADD COLUMN {declared}")
        widened = {
            new.name: old.kind
            for old, new in zip(before.columns, after.columns, strict=False)
            if old.kind is not new.kind and old.kind is not Kind.UNDECIDED
        }
        if widened:
            self._rebuild(conn, after, widened)

    def encode(self, *_: object, **__: object) -> object:
        """Leave all to the writing."""
        return None

    def write(
        self, conn: Connection, layout: Layout, rows: Rows, *, history: Layout | None
    ) -> Outcome:
        """Insert or update by one prepared statement for all rows."""
        ours: dict[str, Iterable[Any]] = {
            HASH: rows.hashes, SYNCED_AT: repeat(self.moment(rows.synced_at), rows.count)
        }  # fmt: skip
        if rows.misfits:
            ours[MISFITS] = [rows.misfits.get(index) for index in range(rows.count)]
        names = [*(column.name for column in rows.cells), *ours]
        # The pass stands in the statement itself: each value that has to be bound takes time.
        statement = (
            f"INSERT INTO {quoted(layout.relation)} AS {STORED} "
            f"({', '.join(map(quoted, names))}, {PASS}, {FIRST_PASS}) "
            f"VALUES ({'?, ' * len(names)}{rows.pass_number:d}, {rows.pass_number:d})"
        )
        values = list(zip(*rows.cells.values(), *ours.values(), strict=True))
        if not layout.key:
            conn.exec_driver_sql(statement, values)
            return Outcome(rows.count, 0, ())
        # The statement itself tells what became of each row that was there: to ask beforehand would
        # look up every key twice.
        there = _There()
        driver: Any = conn.connection.driver_connection
        driver.create_function("milepost_unchanged", 1, there.note_unchanged)
        driver.create_function("milepost_updated", 0, there.note_updated)
        with self._keeping(conn, layout, history):
            conn.exec_driver_sql(
                f"{statement} {on_conflict(layout, greatest='max')} "
                f"WHERE CASE WHEN {SAME} THEN milepost_unchanged({STORED}.{ROW}) "
                "ELSE milepost_updated() END",
                values,
            )
        inserted = rows.count - there.updated - len(there.unchanged)
        return Outcome(inserted, there.updated, there.unchanged)

    def take_place(self, conn: Connection, before: Layout, coming: Layout) -> None:
        """Drop the table and name the other one like it."""
        if before.created:
            self._put_in_place(conn, coming.relation, before.relation)
        else:
            self._rename(conn, coming.relation, before.relation)

    def unseen(self, row_number: str, condition: str) -> str:
        """Look the number up among those of all lines, which SQLite puts in order once."""
        return (
            f"{row_number} NOT IN (SELECT each.value FROM {SEEN.name}, "
            f"json_each({SEEN.name}.row_numbers) AS each WHERE {condition})"
        )

    def refusal(self, error: DBAPIError) -> str | None:
        """Tell by the class: a constraint, a trigger of somebody's, too long a value."""
        refused = isinstance(error.orig, sqlite3.IntegrityError | sqlite3.DataError)
        return str(error.orig) if refused else None

    def readable(self, column: Column) -> str:
        """Read a column as it is: what is not a number is text already."""
        return quoted(column.name)

    def moment(self, at: datetime) -> str:
        """Write the moment as ISO 8601 in UTC, which sorts as text."""
        return at.astimezone(UTC).isoformat(timespec="microseconds")

    @contextmanager
    def _keeping(self, conn: Connection, layout: Layout, history: Layout | None) -> Iterator[None]:
        """Keep the version that a row has before it is updated.

        By a trigger that nobody else sees: it is this connection's, and gone afterwards.
        """
        if history is None:
            yield
            return
        names = [*(quoted(column.name) for column in layout.columns), *KEPT]
        old = ", ".join(f"OLD.{name}" for name in names)
        conn.exec_driver_sql(
            f"CREATE TEMP TRIGGER milepost_keeps BEFORE UPDATE ON main.{quoted(layout.relation)} "
            f"BEGIN INSERT INTO {quoted(history.relation)} ({', '.join(names)}, {DELETED_AT}) "
            f"VALUES ({old}, coalesce(OLD.{DELETED_AT}, NEW.{SYNCED_AT})); END"
        )
        try:
            yield
        finally:
            conn.exec_driver_sql("DROP TRIGGER temp.milepost_keeps")

    def _rebuild(self, conn: Connection, layout: Layout, widened: Mapping[str, Kind]) -> None:
        """Copy the table into one of the new types; SQLite cannot change a column's type."""
        driver: Any = conn.connection.driver_connection
        names, copies = [], []
        for column in layout.columns:
            names.append(quoted(column.name))
            copies.append(quoted(column.name))
            if before := widened.get(column.name):
                # Python converts, as it does for new values: SQLite's own CAST of a float to
                # text keeps only 15 digits.
                function = f"milepost_{before}_to_{column.kind}"
                driver.create_function(function, 1, _converter(before, column.kind))
                copies[-1] = f"{function}({quoted(column.name)})"
        bookkeeping = ", ".join(_BOOKKEEPING)
        create_table(conn, _REBUILT, layout, _DECLARED, _BOOKKEEPING)
        conn.exec_driver_sql(
            f"INSERT INTO {_REBUILT} ({', '.join([*names, bookkeeping])}) "
            f"SELECT {', '.join([*copies, bookkeeping])} FROM {quoted(layout.relation)} "
            f"ORDER BY {ROW}"
        )
        self._put_in_place(conn, _REBUILT, layout.relation)

    def _put_in_place(self, conn: Connection, made: str, relation: str) -> None:
        """Let one table take another's place, with what is attached to it."""
        # The key's index, and whatever indexes and triggers people have added.
        attached = conn.exec_driver_sql(
            "SELECT sql FROM sqlite_master "
            "WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL",
            (relation,),
        ).scalars()
        statements = list(attached)
        conn.exec_driver_sql(f"DROP TABLE {quoted(relation)}")
        self._rename(conn, made, relation)
        for statement in statements:
            conn.exec_driver_sql(statement)

    def _rename(self, conn: Connection, made: str, relation: str) -> None:
        # Otherwise the renaming fails where a view reads the table that is missing just now.
        [legacy] = conn.exec_driver_sql("PRAGMA legacy_alter_table").one()
        conn.exec_driver_sql("PRAGMA legacy_alter_table = ON")
        try:
            conn.exec_driver_sql(f"ALTER TABLE {quoted(made)} RENAME TO {quoted(relation)}")
        finally:
            conn.exec_driver_sql(f"PRAGMA legacy_alter_table = {legacy}")


class _There:
    """What becomes of the rows of a page that were there; SQLite calls it for each."""

    def __init__(self) -> None:
        self.updated = 0
        self.unchanged: list[int] = []

    def note_unchanged(self, row: int) -> bool:
        """Note a row that stays as it is; returns whether it is to be updated."""
        self.unchanged.append(row)
        return False

    def note_updated(self) -> bool:
        """Count a row that changes; returns whether it is to be updated."""
        self.updated += 1
        return True


def _converter(before: Kind, after: Kind) -> Any:
    return lambda value: convert(value, before, after)
