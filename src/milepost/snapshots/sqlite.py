"""Snapshots in SQLite.

Booleans are 0 and 1; JSON is text; a timestamp is the text that the source gave, so that it
survives as it was. Types are declared so that their affinity never changes a stored value.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import repeat
from typing import Any, Final

from pydantic_core import to_json
from sqlalchemy import Connection

from milepost.snapshots.kinds import Kind, convert
from milepost.snapshots.layout import Column, Layout
from milepost.snapshots.names import DELETED_AT, SEEN_IN, SYNCED_AT, key_index_name, quoted
from milepost.snapshots.upserts import STORED, on_conflict

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
_REBUILT: Final = "_milepost_rebuilt"


class SqliteDestination:
    """Keeps snapshots in a SQLite file. Writers run one at a time: nothing needs a lock."""

    holds_nul = True

    def lock(self, conn: Connection) -> None:
        """Do nothing: the caller's BEGIN IMMEDIATE is the lock."""

    def has(self, conn: Connection, relation: str) -> bool:
        """Tell whether the name is taken; an index takes one too."""
        query = "SELECT 1 FROM sqlite_master WHERE lower(name) = lower(?)"
        return conn.exec_driver_sql(query, (relation,)).first() is not None

    def create(self, conn: Connection, layout: Layout) -> None:
        """Create the table with its key's unique index."""
        self._create(conn, layout, layout.relation)
        if layout.key:
            index = quoted(key_index_name(layout.relation))
            key = ", ".join(map(quoted, layout.key_columns))
            conn.exec_driver_sql(
                f"CREATE UNIQUE INDEX {index} ON {quoted(layout.relation)} ({key})"
            )

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

    def write(
        self,
        conn: Connection,
        layout: Layout,
        columns: Sequence[Column],
        values: Sequence[Sequence[Any]],
        *,
        rows: int,
        pass_number: int,
        synced_at: datetime,
    ) -> None:
        """Insert or update by one prepared statement for all rows."""
        stored = [
            [None if value is None else to_json(value).decode() for value in cells]
            if column.kind is Kind.JSON
            else cells
            for column, cells in zip(columns, values, strict=True)
        ]
        constants = repeat(pass_number, rows), repeat(self.moment(synced_at), rows)
        names = [*(column.name for column in columns), SEEN_IN, SYNCED_AT]
        conn.exec_driver_sql(
            f"INSERT INTO {quoted(layout.relation)} AS {STORED} ({', '.join(map(quoted, names))}) "
            f"VALUES ({', '.join(repeat('?', len(names)))}) {on_conflict(layout, greatest='max')}",
            list(zip(*stored, *constants, strict=True)),
        )

    def readable(self, column: Column) -> str:
        """Read a column as it is: what is not a number is text already."""
        return quoted(column.name)

    def moment(self, at: datetime) -> str:
        """Write the moment as ISO 8601 in UTC, which sorts as text."""
        return at.astimezone(UTC).isoformat(timespec="microseconds")

    def _create(self, conn: Connection, layout: Layout, relation: str) -> None:
        columns = [
            *(f"{quoted(column.name)} {_DECLARED[column.kind]}" for column in layout.columns),
            f"{SEEN_IN} INTEGER NOT NULL",
            f"{SYNCED_AT} TEXT NOT NULL",
            f"{DELETED_AT} TEXT",
        ]
        conn.exec_driver_sql(f"CREATE TABLE {quoted(relation)} ({', '.join(columns)})")

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
        relation = quoted(layout.relation)
        bookkeeping = f"{SEEN_IN}, {SYNCED_AT}, {DELETED_AT}"
        # The key's index, and whatever indexes and triggers people have added.
        attached = conn.exec_driver_sql(
            "SELECT sql FROM sqlite_master "
            "WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL",
            (layout.relation,),
        ).scalars()
        statements = list(attached)
        self._create(conn, layout, _REBUILT)
        conn.exec_driver_sql(
            f"INSERT INTO {_REBUILT} ({', '.join(names)}, {bookkeeping}) "
            f"SELECT {', '.join(copies)}, {bookkeeping} FROM {relation} ORDER BY rowid"
        )
        conn.exec_driver_sql(f"DROP TABLE {relation}")
        # Otherwise the renaming fails where a view reads the table that is missing just now.
        [legacy] = conn.exec_driver_sql("PRAGMA legacy_alter_table").one()
        conn.exec_driver_sql("PRAGMA legacy_alter_table = ON")
        try:
            conn.exec_driver_sql(f"ALTER TABLE {_REBUILT} RENAME TO {relation}")
        finally:
            conn.exec_driver_sql(f"PRAGMA legacy_alter_table = {legacy}")
        for statement in statements:
            conn.exec_driver_sql(statement)


def _converter(before: Kind, after: Kind) -> Any:
    return lambda value: convert(value, before, after)
