"""Notices walks that never end."""

from collections.abc import Sequence
from typing import Any, Final

from milepost.connectors.http.positions import AtOffset, AtPage, AtToken, AtUrl, Ended, Position
from milepost.errors import FatalConnectorError, RetryableConnectorError

# Filters leave pages empty in some APIs, but not so many.
EMPTY_IN_A_ROW: Final = 1000
# A page may be like another by chance, where records have no key.
ROUNDS: Final = 3


class LoopGuard:
    """Watches one walk over a table, with a memory of one position and two pages."""

    def __init__(self, start: Position) -> None:
        self._mark = start
        self._span = 1
        self._left = 1
        self._before: Sequence[Any] = ()
        self._moved = False
        self._marked: Sequence[Any] = ()
        self._rounds = 0
        self._empty = 0

    def check(self, following: Position, records: Sequence[Any]) -> None:
        """Look at the next step before it is taken.

        Raises FatalConnectorError if the walk goes in circles, RetryableConnectorError for the
        page before once more, where the server itself led to this one.
        """
        if following == self._mark:
            raise FatalConnectorError(
                f"the server leads in a circle: {_described(following)} comes again, so the "
                "download would never end; choose another way with --pagination"
            )
        if records and records == self._before:
            raise RetryableConnectorError("the server gives the records of the page before again")
        if isinstance(following, Ended):
            return
        if not records and self._empty >= EMPTY_IN_A_ROW:
            raise FatalConnectorError(
                f"{self._empty:,} pages in a row hold no records, and each leads to another one: "
                "the download would never end"
            )
        if records and records == self._marked and self._rounds + 1 >= ROUNDS:
            raise FatalConnectorError(
                "the server leads in a circle: a page with the same records comes again and again "
                "at another place, so the download would never end"
            )

    def move(self, following: Position, records: Sequence[Any]) -> None:
        """Take the step.

        Brent's algorithm: a set of all positions would grow with the table.
        """
        self._moved = self._moved or bool(self._before and records != self._before)
        self._before = records
        self._empty = 0 if records else self._empty + 1
        self._rounds += bool(records) and records == self._marked
        self._left -= 1
        if self._left == 0:
            self._mark = following
            self._marked, self._rounds = records, 0
            self._span *= 2
            self._left = self._span

    def stands_still(self, position: Position, records: Sequence[Any]) -> bool:
        """Whether a page by number is the one before it again: an answer past the end.

        Raises FatalConnectorError if no page has been different yet: then the server more
        probably ignores the parameter.
        """
        if not records or records != self._before:
            return False
        match position:
            case AtPage(number=number, first=first, param=param):
                pages = number - first
            case AtOffset(offset=offset, param=param):
                pages = offset // len(records)
            case _:
                return False
        # A walk that resumed may not have seen the page that was different.
        if not self._moved and pages <= 2:  # noqa: PLR2004
            raise FatalConnectorError(
                f"{_described(position)} gives the same records as the page before: the server "
                f"seems to ignore {param!r}; name the right parameter with --page-param or "
                "--offset-param, or choose another way with --pagination"
            )
        return True


def _described(position: Position) -> str:
    match position:
        case AtUrl(url=url):
            return f"next page {url}"
        case AtToken(param=param, value=value):
            return f"{param}={value}"
        case AtPage(param=param, number=number):
            return f"{param}={number}"
        case AtOffset(param=param, offset=offset):
            return f"{param}={offset}"
        case _:
            return "the first page"
