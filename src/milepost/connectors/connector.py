"""The port between `download-records` and a source of any kind."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Record = Mapping[str, Any]
"""One row of a source: field names to JSON values."""

Cursor = Any
"""The source's own position, JSON, opaque to everyone else. None: from the beginning."""


@dataclass(frozen=True, slots=True)
class Page:
    """A bounded batch of records and the cursor after it.

    `cursor` asks for what follows this page. `last` says that nothing does: the pass over the
    table is complete. `total` counts the records of the whole table, where the source tells.
    `counted`: the page's place is a count of what came before it, so that a record deleted at the
    source meanwhile moves the others, and the pass may miss one that lives.
    """

    records: Sequence[Record]
    cursor: Cursor
    last: bool = False
    total: int | None = None
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a source. An empty `key` means that the source does not tell."""

    name: str
    key: tuple[str, ...] = ()


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

    async def aclose(self) -> None:
        """Close what is open; safe to call twice."""
        ...
