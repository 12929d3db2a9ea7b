"""Reads the lines of a text file, and knows at which byte each ends."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from milepost.connectors.files.content import Content
from milepost.connectors.files.storage import changed
from milepost.errors import FatalConnectorError

_BOM: Final = b"\xef\xbb\xbf"
_MAX_LINE_BYTES: Final = 16 * 1024 * 1024
_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """The end of a line: bytes and lines before it, and the checksum of those bytes.

    The checksum tells whether what was read is still what the file says, however often it was
    copied or appended to.
    """

    offset: int = 0
    line: int = 0
    crc: int = 0


class Lines:
    """The lines from a place on, with their line ends."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._place = Place()
        # Lines that were read, and not counted yet: all at once is a third of the time.
        self._pending: list[bytes] = []

    @property
    def place(self) -> Place:
        """Where the last line that was read ends."""
        if self._pending:
            read, place = b"".join(self._pending), self._place
            self._place = Place(
                place.offset + len(read),
                place.line + len(self._pending),
                zlib.crc32(read, place.crc),
            )
            self._pending.clear()
        return self._place

    @property
    def number(self) -> int:
        """The number of the line that was read last, from 1."""
        return self._place.line + len(self._pending)

    def go_to(self, place: Place) -> None:
        """Go on at a place of an earlier run.

        Raises FatalConnectorError if the file does not say the same up to there any more.
        """
        here = self.place
        if not self._content.skip_to(place.offset):
            crc, left = here.crc, place.offset - here.offset
            while left > 0 and (chunk := self._content.stream.read(min(left, _CHUNK))):
                crc, left = zlib.crc32(chunk, crc), left - len(chunk)
            if left or crc != place.crc:
                raise changed(self._content.shown, f"line {place.line}")
        self._place = place

    def raw(self) -> Iterator[bytes]:
        """Read lines as they are, without a byte order mark."""
        readline, keep = self._content.stream.readline, self._pending.append
        first = self.place.offset == 0
        while line := readline(_MAX_LINE_BYTES):
            keep(line)
            if len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n"):
                raise self.wrong(f"longer than {_MAX_LINE_BYTES:,} bytes")
            if first:
                line = line.removeprefix(_BOM)
                first = False
            yield line
        if not self._content.check_end(self.place.offset):
            raise changed(self._content.shown, f"line {self.number}")

    def text(self, encoding: str) -> Iterator[str]:
        """Read lines as text."""
        for line in self.raw():
            try:
                yield line.decode(encoding)
            except UnicodeDecodeError as error:
                byte = f"byte {line[error.start]:#04x} at {error.start + 1}"
                raise self.wrong(
                    f"{byte} is not {encoding}; say what it is with --option encoding=…, "
                    "or save the file as UTF-8"
                ) from None

    def wrong(self, problem: str, *, line: int | None = None) -> FatalConnectorError:
        """Say what is wrong with a line: the one that was just read, if not another."""
        return FatalConnectorError(f"{self._content.shown}, line {line or self.number}: {problem}")
