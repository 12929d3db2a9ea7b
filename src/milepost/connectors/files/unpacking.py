"""Unpacks gzip and zstd while they are read, in bounded memory."""

import io
import sys
import zlib
from collections.abc import Callable
from typing import Any, Final, Protocol

from milepost.connectors.files.extras import needs
from milepost.errors import FatalConnectorError

CHUNK: Final = 256 * 1024
_MAGIC: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


def compression_in(beginning: bytes) -> str | None:
    """Tell by its first bytes how a file is packed. No text and no Parquet begins so."""
    return next((name for magic, name in _MAGIC.items() if beginning.startswith(magic)), None)


def may_be(compression: str, beginning: bytes) -> bool:
    """Whether a file that is named as packed was cut off before its first bytes told."""
    return any(
        name == compression and magic.startswith(beginning) for magic, name in _MAGIC.items()
    )


def unpacked(packed: io.BufferedReader, compression: str, shown: str) -> io.BufferedReader:
    """Read what is packed there. `shown` is for messages."""
    start = _Gzip if compression == "gzip" else _zstd()
    return io.BufferedReader(_Unpacked(packed, start, shown), CHUNK)


class _Member(Protocol):
    """Unpacks one member of a packed file; there may be several, one after the other."""

    def unpack(self, packed: bytes, limit: int) -> bytes:
        """Unpack up to so many bytes, of what was given before too."""
        ...

    @property
    def hungry(self) -> bool:
        """Whether there may be nothing more without more input."""
        ...

    @property
    def rest(self) -> bytes | None:
        """What follows the end of the member; None before its end."""
        ...


class _Unpacked(io.RawIOBase):
    def __init__(self, packed: io.BufferedReader, start: Callable[[], _Member], shown: str) -> None:
        self._packed = packed
        self._start = start
        self._member = start()
        self._shown = shown

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        filled = 0
        while filled < len(view) and (piece := self._piece(len(view) - filled)):
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        return filled

    def _piece(self, limit: int) -> bytes:
        piece = b""
        while not piece:
            given, at_end = b"", False
            if self._member.rest is not None:
                given = self._next_member(self._member.rest)
                if not given:
                    return b""
                self._member = self._start()
            elif self._member.hungry:
                given = self._packed.read1(CHUNK)
                at_end = not given
            try:
                piece = self._member.unpack(given, limit)
            except Exception as error:  # noqa: BLE001 (zlib and zstd have each their own)
                raise FatalConnectorError(f"{self._shown} cannot be unpacked: {error}") from None
            if at_end and not piece and self._member.rest is None:
                raise FatalConnectorError(
                    f"{self._shown} ends in the middle of its packed data: is it still being "
                    "written, or was it copied in part?"
                )
        return piece

    def _next_member(self, rest: bytes) -> bytes:
        # Zeros between members and at the end are padding, as tapes have it.
        while not (rest := rest.lstrip(b"\0")):
            rest = self._packed.read1(CHUNK)
            if not rest:
                return b""
        return rest


class _Gzip:
    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)

    def unpack(self, packed: bytes, limit: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + packed, limit)

    @property
    def hungry(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def rest(self) -> bytes | None:
        return self._zlib.unused_data if self._zlib.eof else None


def _zstd() -> Callable[[], _Member]:
    with needs("zstd", "files"):
        if sys.version_info >= (3, 14):
            from compression.zstd import ZstdDecompressor
        else:
            from backports.zstd import ZstdDecompressor

    class Zstd:
        def __init__(self) -> None:
            self._zstd = ZstdDecompressor()

        def unpack(self, packed: bytes, limit: int) -> bytes:
            return self._zstd.decompress(packed, limit)

        @property
        def hungry(self) -> bool:
            return self._zstd.needs_input

        @property
        def rest(self) -> bytes | None:
            return self._zstd.unused_data if self._zstd.eof else None

    return Zstd
