"""The port between `download-records` and a source of any kind."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, Protocol

Record = Mapping[str, Any]
"""One row of a source: field names to JSON values."""

OnWait = Callable[[str, timedelta], None]
"""Told why and how long a connector waits before it asks again."""

OnLog = Callable[[str], None]
"""Told what a source says of its own work, a line at a time."""

Sleep = Callable[[float], Awaitable[None]]

ColumnType = Literal["integer", "float", "boolean", "text", "timestamp", "json"]

Cursor = Any
"""The source's own position, JSON, opaque to everyone else. None: from the beginning."""


@dataclass(frozen=True, slots=True)
class Page:
    """A bounded batch of records and the cursor after it.

    `cursor` asks for what follows this page. None, but on a last page, says that the table can only
    be read from its beginning. `last` says that nothing follows: the pass over the table is
    complete. `total` counts the records of the whole table, where the source tells. `counted`: the
    page's place is a count of what came before it, so that a record deleted at the source meanwhile
    moves the others, and the pass may miss one that lives. `bookmark`, on a last page, is the
    cursor with which a later pass begins that reads only what is new. `skipped` says of each record
    that could not be read why.
    """

    records: Sequence[Record]
    cursor: Cursor
    last: bool = False
    total: int | None = None
    counted: bool = False
    bookmark: Cursor = None
    skipped: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a source. What the source does not tell is empty."""

    name: str
    key: tuple[str, ...] = ()
    columns: Mapping[str, ColumnType] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What a test of a source has found to work.

    `problem` says what does not, and what to do; None: all of it works. `rate_limit` is what the
    source says of it, in words; `notes` say what else was found.
    """

    reached: bool
    authenticated: bool
    tables: Sequence[Table] = ()
    rate_limit: str | None = None
    notes: Sequence[str] = ()
    problem: str | None = None


class Connector(Protocol):
    """Reads one source, page by page, from any cursor it ever gave."""

    async def tables(self) -> Sequence[Table]:
        """Say which tables there are.

        Raises a ConnectorError that says what the caller must do.
        """
        ...

    def pages(self, table: str, *, after: Cursor) -> AsyncGenerator[Page]:
        """Read the pages after a cursor; the final page has `last` set, and may be empty.

        Reading again after the same cursor gives the same records or newer versions of them.
        Raises a ConnectorError that says what the caller must do.
        """
        ...

    async def test(self) -> Report:
        """Try what can be tried without reading much; never raises a ConnectorError."""
        ...

    async def aclose(self) -> None:
        """Close what is open; safe to call twice."""
        ...
