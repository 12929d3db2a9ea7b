"""The port to what PostgreSQL, MariaDB and SQLite do each in their own way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Engine

from milepost.connectors.connector import ColumnType
from milepost.errors import ConnectorError

Mark = str | int | float | bytes | None
"""A value of a key column, exact, as the server is asked for what comes after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: how it is read, and how rows are put in an order by it.

    `read` is selected, and `convert` makes JSON of what came. `order` is what rows are sorted and
    compared by; `mark` is selected to stand in a cursor, and `bind` makes the operand of it that
    `order` is compared with. All three agree with the server's own equality, or a row would be
    skipped or repeated.
    """

    name: str
    type: ColumnType
    nullable: bool
    moment: bool
    read: ColumnElement[Any]
    convert: Callable[[Any], Any] | None
    order: ColumnElement[Any]
    mark: ColumnElement[Any]
    bind: Callable[[Mark], ColumnElement[Any]]


@dataclass(frozen=True, slots=True)
class Named:
    """A table or view as the database names it."""

    name: str
    schema: str | None


class Dialect(Protocol):
    """One kind of database. All of it blocks, and runs on the connector's thread."""

    nulls_last: bool
    """Where an ascending order has them."""
    row_values: bool
    """Whether `(a, b) > (x, y)` finds its rows by an index."""
    drains: bool
    """Whether a statement that has rows left reads all of them before it is closed."""
    title: str
    """What people call it."""

    @property
    def engine(self) -> Engine:
        """Makes the connections; none is kept."""
        ...

    def begin(self, conn: Connection) -> None:
        """Prepare a connection for reading, and begin its transaction."""
        ...

    def tables(self, conn: Connection, schema: str | None) -> Sequence[str]:
        """Name the tables that hold rows of their own."""
        ...

    def columns(
        self, conn: Connection, table: Named, reflected: Sequence[Mapping[str, Any]]
    ) -> Sequence[Column]:
        """Say how to read the columns that SQLAlchemy has reflected."""
        ...

    def order(self, conn: Connection, table: Named, key: Sequence[Column]) -> tuple[Column, ...]:
        """Complete a key, which may be empty, to what no two rows have in common; empty: nothing.

        What it adds is no column of the table.
        """
        ...

    def newest(self, column: Column) -> ColumnElement[Any]:
        """Select the mark of the largest value that is not in the future."""
        ...

    def since(self, column: Column, mark: Mark, look_back: timedelta) -> ColumnElement[Any]:
        """Make the operand for what came `look_back` before a mark, or later."""
        ...

    def interrupt(self, connection: Any, *, cut: bool) -> None:
        """End the query that another thread waits for; `cut` its connection, if need be."""
        ...

    def refusal(self, error: Exception) -> ConnectorError:
        """Say what the caller must do about an error of the driver."""
        ...
