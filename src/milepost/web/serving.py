"""Serves the web application until it is told to stop."""

import asyncio
import contextlib
import socket
from typing import Any, Self

import uvicorn

from milepost.access import Access
from milepost.app import Milepost
from milepost.errors import ConfigurationError
from milepost.web.app import create_app
from milepost.web.guard import Openness, is_this_machine


class Server:
    """One HTTP server on one address. `async with` it, or start and stop it.

    `without_authentication`: whoever reaches the port may do everything. Without that an address
    that others reach is refused as long as the store has no token.
    """

    def __init__(
        self, milepost: Milepost, *, host: str, port: int, without_authentication: bool = False
    ) -> None:
        self._milepost = milepost
        self._host = host
        self._port = port
        self._without_authentication = without_authentication
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None

    @property
    def url(self) -> str:
        """Where it is to be found."""
        port = self._socket.getsockname()[1] if self._socket else self._port
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{port}"

    async def start(self) -> None:
        """Listen. Raises ConfigurationError where that is not safe, or the port is taken."""
        if not (self._without_authentication or is_this_machine(self._host)):
            access = Access(self._milepost.database)
            if not await access.needed():
                raise ConfigurationError(
                    f"others reach {self._host}, and there is no token yet: make one with "
                    "`milepost tokens create NAME`, or say --without-authentication"
                )
        app = create_app(self._milepost, openness=Openness(anyone=self._without_authentication))
        self._socket = _listen(self._host, self._port)
        self._server = _Quiet(
            uvicorn.Config(
                app, log_config=None, access_log=False, lifespan="off",
                # Listeners to events would be waited for; they come again by themselves.
                timeout_graceful_shutdown=2,
            )
        )  # fmt: skip
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Answer what was asked, and end."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
        if self._socket is not None:
            self._socket.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


class _Quiet(uvicorn.Server):
    """Leaves the signals to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named: only then asyncio lets small packets go at once, which saves the
    # 40 ms that the other side waits before it says that it has the first of two.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigurationError(
            f"{host}:{port} cannot be listened on: {error.strerror}; --port takes another"
        ) from None
    listening.set_inheritable(False)
    return listening
