"""The port between snapshots and the database they are kept in."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection

from milepost.errors import SnapshotError
from milepost.snapshots.layout import Column, Layout


class Destination(Protocol):
    """Creates, changes and fills tables, in the caller's transaction."""

    @property
    def holds_nul(self) -> bool:
        """Whether a text may contain the character NUL."""
        ...

    def lock(self, conn: Connection) -> None:
        """Let no other transaction create tables of ours until this one ends."""
        ...

    def has(self, conn: Connection, relation: str) -> bool:
        """Tell whether the name is taken by a table, a view or the like, ours or not."""
        ...

    def create(self, conn: Connection, layout: Layout) -> None:
        """Create the table with its key's unique index."""
        ...

    def alter(self, conn: Connection, before: Layout, after: Layout) -> None:
        """Add the columns that are new and widen those of another kind, keeping every value."""
        ...

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
        """Insert rows, or update those whose key is there.

        `values` has one sequence for each column, of `rows` values each. Columns of the table that
        are not among `columns` become null. No key comes twice.
        """
        ...

    def readable(self, column: Column) -> str:
        """Write the SQL that reads a column: JSON, and timestamps in ISO 8601, as text."""
        ...

    def moment(self, at: datetime) -> Any:
        """Turn an aware moment into what a bookkeeping column takes."""
        ...


def destination_of(conn: Connection) -> Destination:
    """Choose the adapter for a connection."""
    match conn.dialect.name, conn.dialect.driver:
        case "sqlite", _:
            from milepost.snapshots.sqlite import SqliteDestination

            return SqliteDestination()
        case "postgresql", "psycopg":
            from milepost.snapshots.postgres import PostgresDestination

            return PostgresDestination()
        case name, driver:
            raise SnapshotError(
                f"no snapshots into {name} by {driver}: "
                "use sqlite:///file or postgresql+psycopg://host/database"
            )
