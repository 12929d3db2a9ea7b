"""A TCP proxy on loopback that can swallow what passes, as a broken network does."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator


class Proxy:
    """Forwards connections to a port; while it swallows, bytes vanish both ways."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._swallowing = False
        self._swallowed = 0
        self._break_at: tuple[bytes, bool] | None = None
        self.broke = False
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def swallow(self) -> None:
        """From now on nothing arrives and nobody hears of it."""
        self._swallowing = True
        self._swallowed += 1

    def pass_on(self) -> None:
        """New connections work again; the old ones have lost bytes and stay silent."""
        self._swallowing = False

    def break_at(self, said: bytes, *, arrives: bool) -> None:
        """Break the next connection that says this, before it arrives or before the answer does."""
        self._break_at = (said, arrives)

    def close(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._listening.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            ready, _, _ = select.select([self._listening], [], [], 0.05)
            if ready:
                near, _ = self._listening.accept()
                thread = threading.Thread(target=self._forward, args=(near,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _forward(self, near: socket.socket) -> None:
        born = self._swallowed

        def silent() -> bool:
            return self._swallowing or self._swallowed != born

        with (
            contextlib.suppress(OSError),
            near,
            contextlib.closing(socket.create_connection(("127.0.0.1", self._target))) as far,
        ):
            other = {near: far, far: near}
            while not self._ended.is_set():
                for side in select.select(list(other), [], [], 0.05)[0]:
                    data = side.recv(65536)
                    if not data:
                        return
                    if side is near and self._is_to_break(data, far):
                        return
                    if not silent():
                        other[side].sendall(data)

    def _is_to_break(self, data: bytes, far: socket.socket) -> bool:
        if self._break_at is None or self._break_at[0] not in data:
            return False
        if self._break_at[1]:
            far.sendall(data)
            far.recv(65536)
        self._break_at, self.broke = None, True
        return True


@contextlib.contextmanager
def proxy(port: int) -> Iterator[Proxy]:
    """A proxy to a port of this machine."""
    made = Proxy(port)
    try:
        yield made
    finally:
        made.close()
