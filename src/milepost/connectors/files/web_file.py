"""A file on a web server as one that blocks: its requests run in a loop, its reader on a thread."""

import asyncio
import io
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from milepost.connectors.files.web_stream import WebStream
from milepost.errors import RetryableConnectorError

Answer = TypeVar("Answer")

_FROM_END: Final = 2


class WebFile:
    """One open file. Nothing is asked for before it is read."""

    def __init__(self, stream: WebStream, loop: asyncio.AbstractEventLoop) -> None:
        self._stream = stream
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self._given_up = False
        self.raw: io.RawIOBase = _Raw(self, stream)

    @property
    def version(self) -> str | None:
        """The entity tag, or else the time of the last change and the size."""
        self.wait(self._stream.begin())
        return self._stream.version

    @property
    def version_counts(self) -> bool:
        """Yes: reading all of it again would be slow."""
        return True

    def check_end(self, size: int) -> bool:  # noqa: ARG002
        """Yes: the stream has seen to it."""
        return True

    def read_in_any_order(self) -> None:
        """Ask for parts, each as large as what is read."""
        self._stream.in_parts = True

    def interrupt(self) -> None:
        """Give up what is being waited for, and all that comes."""
        self._given_up = True
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._cancel)

    def close(self) -> None:
        """Drop the connection, without waiting for it."""
        self._given_up = True
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stream.drop)

    def wait(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Run a coroutine in the loop, and wait for it on this thread."""
        return asyncio.run_coroutine_threadsafe(self._tracked(work), self._loop).result()

    async def _tracked(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        if self._given_up:
            work.close()
            raise RetryableConnectorError("the file is not read any more")
        self._task = asyncio.current_task()
        try:
            return await work
        finally:
            self._task = None

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


class _Raw(io.RawIOBase):
    def __init__(self, file: WebFile, stream: WebStream) -> None:
        self._file = file
        self._stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = self._file.wait(self._stream.read(len(buffer)))
        buffer[: len(read)] = read
        return len(read)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == _FROM_END:
            offset += self._file.wait(self._stream.whole_size())
        elif whence:
            offset += self._stream.offset
        self._file.wait(self._stream.go_to(offset))
        return offset

    def tell(self) -> int:
        return self._stream.offset
