"""A network between a worker and its database that can swallow what is sent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from sqlalchemy.engine import make_url


class Proxy:
    """Acknowledges everything and, while it swallows, carries nothing on.

    A connection that lived then is dead for ever, and neither of its ends is told.
    """

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self._carrying = asyncio.Event()
        self._carrying.set()
        self._swallowed = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The database's URL, by way of this proxy."""
        through = self._target.set(host="127.0.0.1", port=self._port)
        return through.render_as_string(hide_password=False)

    @contextlib.contextmanager
    def swallowing(self) -> Iterator[None]:
        self._carrying.clear()
        self._swallowed += 1
        try:
            yield
        finally:
            self._carrying.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for writer in self._open:
                writer.close()

    async def _connected(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(to_near)
        await self._carrying.wait()
        far, to_far = await asyncio.open_connection(self._target.host, self._target.port)
        self._open.add(to_far)
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(
                self._carry(near, to_far, self._swallowed),
                self._carry(far, to_near, self._swallowed),
            )

    async def _carry(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, born: int
    ) -> None:
        while data := await source.read(65536):
            if self._swallowed == born:
                to.write(data)
                await to.drain()
        if self._swallowed == born:
            to.close()
