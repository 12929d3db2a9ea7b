"""Reads the lines of a text file, and knows at which byte each ends."""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from milepost.errors import FatalConnectorError

_BOM = b"\xef\xbb\xbf"
_MAX_LINE_BYTES = 16 * 1024 * 1024
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """The end of a line: bytes and lines before it, and the checksum of those bytes.

    The checksum tells whether what was read is still what the file says, however often it was
    copied or appended to.
    """

    offset: int = 0
    line: int = 0
    crc: int = 0


class Lines(Iterator[str]):
    """The lines from a place on, with their line ends. `name` is for messages."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._offset = self._line = self._crc = 0

    @property
    def place(self) -> Place:
        """Where the last line that was read ends."""
        return Place(self._offset, self._line, self._crc)

    def go_to(self, place: Place) -> None:
        """Go on at a place of an earlier run.

        Raises FatalConnectorError if the file does not say the same up to there any more.
        """
        self._file.seek(0)
        crc, left = 0, place.offset
        while left and (chunk := self._file.read(min(left, _CHUNK))):
            crc, left = zlib.crc32(chunk, crc), left - len(chunk)
        if left or crc != place.crc:
            raise changed(self._name, f"line {place.line}")
        self._offset, self._line, self._crc = place.offset, place.line, place.crc

    def __next__(self) -> str:
        raw = self.raw()
        if raw is None:
            raise StopIteration
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            byte = f"byte {raw[error.start]:#04x} at {error.start + 1}"
            raise self.wrong(f"{byte} is not UTF-8; save the file as UTF-8") from None

    def raw(self) -> bytes | None:
        """Read one line as it is, without a byte order mark; None at the end of the file."""
        raw = self._file.readline(_MAX_LINE_BYTES)
        if not raw:
            if os.fstat(self._file.fileno()).st_size < self._offset:
                raise changed(self._name, f"line {self._line}")
            return None
        first = self._offset == 0
        self._offset += len(raw)
        self._line += 1
        self._crc = zlib.crc32(raw, self._crc)
        if len(raw) == _MAX_LINE_BYTES and not raw.endswith(b"\n"):
            raise self.wrong(f"longer than {_MAX_LINE_BYTES:,} bytes")
        return raw.removeprefix(_BOM) if first else raw

    def wrong(self, problem: str, *, line: int | None = None) -> FatalConnectorError:
        """Say what is wrong with a line: the one that was just read, if not another."""
        return FatalConnectorError(f"{self._name}, line {line or self._line}: {problem}")


def changed(name: str, where: str) -> FatalConnectorError:
    """Say that a file is not the one that a cursor was made for."""
    return FatalConnectorError(
        f"{name} has changed since it was read up to {where}: submit a new job, which begins at "
        "the start"
    )
