"""The bytes of one file: unpacked, and in UTF-8 where they were in UTF-16."""

import codecs
import io
from collections.abc import Callable
from typing import Any, Final

from milepost.connectors.files.addresses import compression_of
from milepost.connectors.files.source import FileSource
from milepost.connectors.files.storage import Found, Opened
from milepost.connectors.files.unpacking import CHUNK, compression_in, may_be, unpacked
from milepost.errors import FatalConnectorError

# Of these a line end is more than one byte, or a byte of it stands in other characters too.
_WIDE: Final = ("utf-16", "utf-32", "utf_16", "utf_32", "utf16", "utf32", "u16", "u32", "utf-7")


class Content:
    """What a reader reads. `stream` is at its beginning; `peek` shows what comes first."""

    def __init__(self, found: Found, opened: Opened, source: FileSource) -> None:
        self.shown = found.shown
        self._opened = opened
        self.stream: io.BufferedReader = io.BufferedReader(opened.raw, CHUNK)
        self.compression = _compression(self.stream.peek(1), found, source)
        self._plain = self.compression is None
        if self.compression is not None:
            self.stream = unpacked(self.stream, self.compression, found.shown)

    @property
    def version(self) -> str | None:
        """What differs when the file does; None where only reading tells."""
        return self._opened.version

    def in_any_order(self) -> io.BufferedReader:
        """Take the file as one that can be read in any order.

        Raises FatalConnectorError where it is packed.
        """
        if self.compression is not None:
            raise FatalConnectorError(
                f"{self.shown} is packed with {self.compression} as a whole, so its parts cannot "
                "be found: unpack it first"
            )
        self._opened.read_in_any_order()
        return self.stream

    def peek(self) -> bytes:
        """Show the beginning without reading it: 256 KiB, or all where there is less."""
        return self.stream.peek(1)

    def decode(self, encoding: str) -> None:
        """Read on in UTF-8, whatever encoding the bytes are in."""
        self.stream = io.BufferedReader(_Recoded(self.stream, encoding, self.shown), CHUNK)
        self._plain = False

    def skip_to(self, offset: int) -> bool:
        """Go on at an offset, where the version vouches for what is skipped."""
        if not (self._plain and self._opened.version_counts and self.version is not None):
            return False
        self.stream.seek(offset)
        return True

    def check_end(self, size: int) -> bool:
        """Whether the file may end after so many bytes were read."""
        return not self._plain or self._opened.check_end(size)


def _compression(beginning: bytes, found: Found, source: FileSource) -> str | None:
    if source.compression != "auto":
        return None if source.compression == "none" else source.compression
    named = compression_of(found.where)
    if named is not None and not beginning:
        raise FatalConnectorError(f"{found.shown} is empty, and so no {named} file")
    if named is not None and may_be(named, beginning):
        return named
    # A server may have unpacked on the way what is named as packed.
    return compression_in(beginning)


def is_wide(encoding: str) -> bool:
    """Whether lines cannot be told apart before the text is decoded."""
    return encoding.lower().startswith(_WIDE)


def encoding_mark(beginning: bytes) -> str | None:
    """Tell the encoding by a byte order mark."""
    # The mark of UTF-32 begins with that of UTF-16.
    marks = {
        codecs.BOM_UTF8: "utf-8",
        codecs.BOM_UTF32_LE: "utf-32",
        codecs.BOM_UTF32_BE: "utf-32",
        codecs.BOM_UTF16_LE: "utf-16",
        codecs.BOM_UTF16_BE: "utf-16",
    }
    return next((name for mark, name in marks.items() if beginning.startswith(mark)), None)


class _Recoded(io.RawIOBase):
    def __init__(self, stream: io.BufferedReader, encoding: str, shown: str) -> None:
        self._stream = stream
        self._encoding = encoding
        self._decode: Callable[[bytes, bool], str] = codecs.getincrementaldecoder(encoding)().decode
        self._shown = shown
        self._ready = b""
        self._lines = self._read = 0
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while len(self._ready) < len(buffer) and not self._ended:
            raw = self._stream.read(CHUNK // 4)
            self._ended = not raw
            try:
                text = self._decode(raw, self._ended)
            except UnicodeError as error:
                raise self._wrong(error, raw) from None
            self._read += len(raw)
            self._lines += text.count("\n")
            self._ready += text.encode()
        piece, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def _wrong(self, error: UnicodeError, raw: bytes) -> FatalConnectorError:
        line, byte, reason = self._lines + 1, self._read + 1, str(error)
        if isinstance(error, UnicodeDecodeError):
            # The decoder had kept the beginning of a character from the chunk before.
            good = error.object[: error.start]
            line += good.decode(error.encoding, "replace").count("\n")
            byte += error.start - (len(error.object) - len(raw))
            reason = error.reason
        return FatalConnectorError(
            f"{self._shown}, line {line}: byte {byte:,} of the file is not {self._encoding} "
            f"({reason}); say what it is with --option encoding=…"
        )
