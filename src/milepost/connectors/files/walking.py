"""Walks over the files of one table, page by page, from any page on."""

import hashlib
import zlib
from base64 import urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from milepost.connectors.connector import Cursor, OnLog, Page, Record
from milepost.connectors.files.content import Content
from milepost.connectors.files.cursors import FileCursor, RowPlace, from_cursor, to_cursor
from milepost.connectors.files.formats import reader_of
from milepost.connectors.files.reader import Reader
from milepost.connectors.files.source import FileSource
from milepost.connectors.files.storage import Found, Opened, Storage, changed
from milepost.errors import FatalConnectorError

# Each takes 19 bytes of a checkpoint, which has its limit.
MOST_KNOWN: Final = 40_000


class Walk:
    """One walk. It blocks, so all but `interrupt` runs on one thread."""

    def __init__(self, storage: Storage, source: FileSource, after: Cursor, note: OnLog) -> None:
        self._storage = storage
        self._source = source
        self._note = note
        self._begin = from_cursor(after)
        self._known = set(self._begin.known or ())
        self._files: Sequence[Found] = ()
        self._next = 0
        self._crc = 0
        self._disturbed = False
        self._noted = ""
        self._opened: Opened | None = None
        # Held as long as the file is open: without it the file would be closed before its time.
        self._content: Content | None = None
        self._version: str | None = None
        self._reader: Reader | None = None
        self._interrupted = False

    def begin(self, files: Sequence[Found]) -> None:
        """Go to where the cursor is among these files, which are in the order of their names.

        Raises FatalConnectorError if its file is gone.
        """
        self._files = files
        if self._begin.file is None:
            return
        names = [found.name for found in files]
        self._next = bisect_right(names, self._begin.file)
        if self._begin.place is not None:
            self._next -= 1
            if self._next < 0 or names[self._next] != self._begin.file:
                raise FatalConnectorError(
                    f"{self._begin.file} is gone, and was read in part: submit a new job, which "
                    "begins at the start"
                )
        for found in files[: self._next]:
            self._pass(found)
        if (self._next, self._crc) != (self._begin.passed, self._begin.crc):
            # What they hold now was not read, so that nobody knows which rows are gone.
            self._disturbed = True
            self._note(
                f"files before {self._begin.file} have come, changed or gone since this pass read "
                "that far; the next run reads them, and this one takes no row for gone"
            )

    def read(self) -> Page:
        """Read the next page, across the ends of files."""
        records: list[Record] = []
        total: int | None = None
        while len(records) < self._source.page_size and self._has_more():
            found = self._files[self._next]
            with self._storage.named_errors(found.shown):
                reader = self._reader or self._open(found)
                if reader is None:
                    self._leave(found)
                    continue
                batch = reader.read(self._source.page_size - len(records))
                if batch.ended:
                    self._leave(found)
            records += batch.records
            total = batch.total
        last = not self._has_more()
        return Page(
            records,
            to_cursor(self._cursor(last=last)),
            last=last,
            total=total if len(self._files) == 1 else None,
            counted=self._disturbed,
            bookmark=self._bookmark() if last and self._source.only_new else None,
        )

    def interrupt(self) -> None:
        """Let a read that waits end soon; safe to call from any thread."""
        self._interrupted = True
        opened = self._opened
        if opened is not None:
            opened.interrupt()

    def close(self) -> None:
        """Close the file that is open."""
        opened, self._opened, self._reader = self._opened, None, None
        if opened is not None:
            # What was read stands, whatever closing says.
            with suppress(Exception):
                opened.close()
        self._content = None

    def _has_more(self) -> bool:
        return self._next < len(self._files)

    def _open(self, found: Found) -> Reader | None:
        """Open a file at its beginning or at the cursor; None where it needs no reading."""
        if found.version is not None and _mark(found, found.version) in self._known:
            return None
        resumed = self._begin if self._begin.file == found.name else FileCursor()
        self._opened = self._storage.open(found)
        if self._interrupted:
            self._opened.interrupt()
        content = self._content = Content(found, self._opened, self._source)
        version = content.version
        if version is not None and _mark(found, version) in self._known:
            return None
        told = resumed.version not in {None, version}
        # Where reading tells, it tells more: the same after copying, or with more at its end.
        if told and (self._opened.version_counts or isinstance(resumed.place, RowPlace)):
            raise changed(found.shown, "there")
        self._version = version
        self._reader = reader_of(content, found.where, self._source, resumed.place)
        self._say(found, self._reader.found)
        return self._reader

    def _leave(self, found: Found) -> None:
        """Go past a file that is done, or known."""
        if self._source.only_new and self._opened is not None and self._version is not None:
            self._known.add(_mark(found, self._version))
            if len(self._known) > MOST_KNOWN:
                raise FatalConnectorError(
                    f"only_new can remember {MOST_KNOWN:,} files, and here are more: use narrower "
                    "patterns"
                )
        self._pass(found)
        self._next += 1
        self.close()

    def _pass(self, found: Found) -> None:
        self._crc = zlib.crc32(f"{found.name}\0{found.version}\n".encode(), self._crc)

    def _cursor(self, *, last: bool) -> FileCursor:
        known = tuple(sorted(self._known)) if self._source.only_new and not last else None
        reader = self._reader
        if reader is not None:
            return FileCursor(
                file=self._files[self._next].name, version=self._version, place=reader.place,
                passed=self._next, crc=self._crc, known=known,
            )  # fmt: skip
        name = self._files[self._next - 1].name
        return FileCursor(file=name, passed=self._next, crc=self._crc, known=known)

    def _bookmark(self) -> Cursor:
        # Of the files that are gone nothing need be known any more.
        here = {_mark(found, found.version) for found in self._files if found.version is not None}
        known = self._known & here if here else self._known
        return to_cursor(FileCursor(known=tuple(sorted(known))))

    def _say(self, found: Found, written: str) -> None:
        # Most files of a pattern are written alike, which need not be said of each.
        if written != self._noted:
            self._noted = written
            self._note(f"{found.shown}: {written}")


def _mark(found: Found, version: str) -> str:
    """Stand for one version of one file, in 16 characters."""
    told = hashlib.blake2b(f"{found.name}\0{version}".encode(), digest_size=12)
    return urlsafe_b64encode(told.digest()).decode()
