"""The port between snapshots and the database they are kept in."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from sqlalchemy import ColumnElement, Connection, Engine
from sqlalchemy.exc import DBAPIError

from milepost.errors import SnapshotError
from milepost.snapshots.layout import Column, Layout

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """One page as rows of a table; no key comes twice.

    `cells` has `count` values for each column; columns that are not there become null. `misfits`
    are the texts for `_milepost_misfits`, by the rows' places. `encoded` is what the destination
    made of all these ahead. The pass and the moment are known when they are written.
    """

    cells: Mapping[Column, Sequence[Any]]
    count: int
    hashes: Sequence[int]
    misfits: Mapping[int, str]
    encoded: object = None
    pass_number: int = 0
    synced_at: datetime = _NEVER


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a page: how many rows are new or changed, and the numbers of the others."""

    inserted: int
    updated: int
    unchanged: Sequence[int]


class ColumnHeld(SnapshotError):
    """A column cannot take another type, because something in the database depends on it."""


class Destination(Protocol):
    """Creates, changes and fills tables, in the caller's transaction."""

    @property
    def holds_nul(self) -> bool:
        """Whether a text may contain the character NUL."""
        ...

    @property
    def has_savepoints(self) -> bool:
        """Whether a part of a transaction can be taken back alone."""
        ...

    @property
    def enough(self) -> int:
        """Of how many rows on a commit costs little beside them."""
        ...

    @property
    def works_apart(self) -> bool:
        """Whether it works while Python does something else."""
        ...

    @property
    def when_filling(self) -> Sequence[ColumnElement[Any]]:
        """What to select with the layout of a table that is to be filled, for what that does."""
        ...

    def lock(self, conn: Connection) -> None:
        """Let no other transaction create tables of ours until this one ends."""
        ...

    def has(self, conn: Connection, relation: str) -> bool:
        """Tell whether the name is taken by a table, a view or the like, ours or not."""
        ...

    def create(self, conn: Connection, layout: Layout) -> None:
        """Create the table, with its key's unique index where the writing needs one."""
        ...

    def alter(self, conn: Connection, before: Layout, after: Layout) -> None:
        """Add the columns that are new and widen those of another kind, keeping every value.

        Raises ColumnHeld where something depends on a column's type; then nothing is changed, or a
        part of the transaction is to be taken back.
        """
        ...

    def encode(self, layout: Layout, rows: Rows, *, likely_new: bool) -> object:
        """Make of a page, before its turn comes, what `write` sends; None where nothing is gained.

        `likely_new`: its rows are likely not in the table yet.
        """
        ...

    def write(
        self, conn: Connection, layout: Layout, rows: Rows, *, history: Layout | None
    ) -> Outcome:
        """Insert rows; where there is a key, update those whose content is another now.

        The version that an updated row had goes to `history`, if there is one: a table of the same
        columns, in which `_milepost_deleted_at` says until when it was the latest.
        """
        ...

    def take_place(self, conn: Connection, before: Layout, coming: Layout) -> None:
        """Put the rows of the relation of `coming` in place of the table's own.

        That relation is gone then. Readers see the old rows until the commit, and then the new
        ones; indexes, grants and views of others stay.
        """
        ...

    def unseen(self, row_number: str, condition: str) -> str:
        """Write the SQL that tells whether a row is not among those that were seen unchanged.

        `condition` chooses lines of `milepost_seen`.
        """
        ...

    def refusal(self, error: DBAPIError) -> str | None:
        """Say why the database does not take a row, where it is the row that it does not take."""
        ...

    def readable(self, column: Column) -> str:
        """Write the SQL that reads a column: JSON, and timestamps in ISO 8601, as text."""
        ...

    def moment(self, at: datetime) -> Any:
        """Turn an aware moment into what a bookkeeping column takes."""
        ...


def destination_of(conn: Connection | Engine) -> Destination:
    """Choose the adapter for a connection, or for all of an engine."""
    match conn.dialect.name, conn.dialect.driver:
        case "sqlite", _:
            from milepost.snapshots.sqlite import SqliteDestination

            return SqliteDestination()
        case "postgresql", "psycopg":
            from milepost.snapshots.postgres import PostgresDestination

            return PostgresDestination()
        case "duckdb", _:
            from milepost.snapshots.duckdb import DuckdbDestination

            return DuckdbDestination()
        case name, driver:
            raise SnapshotError(
                f"no snapshots into {name} by {driver}: use sqlite:///file, duckdb:///file or "
                "postgresql+psycopg://host/database"
            )


@contextmanager
def part(conn: Connection, destination: Destination) -> Iterator[None]:
    """Begin a part of the transaction that an error takes back alone, where the database can."""
    with conn.begin_nested() if destination.has_savepoints else nullcontext():
        yield
