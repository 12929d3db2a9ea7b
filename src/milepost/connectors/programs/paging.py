"""Cuts what a program says into pages that each end where it can begin again."""

from collections.abc import Callable, Collection
from typing import Any, Final

from milepost.connectors.connector import Cursor, Page, Record
from milepost.connectors.programs.messages import RecordSaid, StateSaid

# A program that tells no STATE must not be kept in memory as a whole.
_LARGEST: Final = 4
_MAX_BYTES: Final = 32 * 1024 * 1024


class Pager:
    """The records of one stream since the last page, and the last STATE.

    A page's cursor is a STATE that came after all its records; where none came in time, the one
    before them, so that they come again after a crash. `cursor` makes one of a STATE.
    """

    def __init__(
        self,
        names: Collection[str],
        page_size: int,
        state: Any,
        *,
        cursor: Callable[[Any], Cursor],
    ) -> None:
        self._names = names
        self._page_size = page_size
        self._cursor = cursor
        self._records: list[Record] = []
        self._bytes = 0
        self._handed_over = state
        self.state = state
        """The last one."""
        self.dropped = 0
        """Records of other streams."""

    @property
    def has_moved(self) -> bool:
        """Whether a STATE has come that no page has handed over."""
        return bool(self.state != self._handed_over)

    def take(self, message: RecordSaid | StateSaid, size: int) -> bool:
        """Take a message of `size` bytes; says whether a page is complete."""
        match message:
            case RecordSaid(stream, record):
                if stream not in self._names:
                    self.dropped += 1
                    return False
                self._records.append(record)
                self._bytes += size
                longest = self._page_size * _LARGEST
                return len(self._records) >= longest or self._bytes >= _MAX_BYTES
            case StateSaid(state):
                self.state = state
                return len(self._records) >= self._page_size

    def page(self) -> Page:
        """Hand over what there is."""
        return self._page()

    def last_page(self, *, resumes: bool) -> Page:
        """Hand over the rest; the next pass begins at the last STATE, or at the beginning."""
        return self._page(last=True, bookmark=self._cursor(self.state) if resumes else None)

    def _page(self, *, last: bool = False, bookmark: Cursor = None) -> Page:
        page = Page(self._records, self._cursor(self.state), last, bookmark=bookmark)
        self._records, self._bytes, self._handed_over = [], 0, self.state
        return page
