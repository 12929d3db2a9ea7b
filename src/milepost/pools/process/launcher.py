"""The worker's hold on the process that starts its child processes."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from milepost.pools.process.origins import Origin

StartMethod = Literal["fork", "spawn"]

ENDS_WITHIN: Final = 1.0  # seconds
_FILE: Final = Path(__file__).with_name("launching.py")
_PROGRAM: Final = """
import sys
sys.path[:] = {path}
from milepost.pools.process.child import main
main()
"""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended: its exit code, or minus its signal; its largest memory in bytes.

    Nobody knows its memory where the launcher ended first, and took it along.
    """

    code: int
    peak_memory: int | None


@dataclass(frozen=True, slots=True)
class Launched:
    """A child that has been started; `ending` is done when it has ended."""

    pid: int
    ending: asyncio.Future[Ending]


class LauncherGone(Exception):
    """The process that starts children has ended: with it, all of them."""


class Launcher:
    """Starts children on request, signals them and hears of their ends. For one loop."""

    def __init__(
        self, origin: Origin, start: StartMethod, *, on_method: Callable[[str, str | None], None]
    ) -> None:
        self._origin = origin
        self._start = start
        self._on_method = on_method
        self._number = 0
        self._launching: dict[int, asyncio.Future[Launched]] = {}
        self._endings: dict[int, asyncio.Future[Ending]] = {}
        self._heard = b""
        self.gone = False

    def open(self) -> None:
        """Start the launcher; it prepares itself while the worker goes on."""
        self._loop = asyncio.get_running_loop()
        self._control, theirs = socket.socketpair()
        self._process = subprocess.Popen(  # noqa: S603 (our own file, this very interpreter)
            [sys.executable, "-P", str(_FILE), str(theirs.fileno())],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        path = list(self._origin.path)
        self._tell(
            do="prepare", fork=self._start == "fork", path=path,
            setup=asdict(self._origin), program=_PROGRAM.format(path=path),
        )  # fmt: skip
        # Only now: the first message may be longer than what the socket holds.
        self._control.setblocking(False)
        self._loop.add_reader(self._control, self._hear)

    async def launch(self, channel: socket.socket, errors: int) -> Launched:
        """Start a child. Raises LauncherGone, or OSError."""
        if self.gone:
            raise LauncherGone
        self._number += 1
        launched: asyncio.Future[Launched] = self._loop.create_future()
        self._launching[self._number] = launched
        line = json.dumps({"do": "launch", "number": self._number}).encode() + b"\n"
        try:
            socket.send_fds(self._control, [line], [channel.fileno(), errors])
        except OSError as error:
            self._end()
            raise LauncherGone from error
        return await launched

    def signal(self, pid: int, number: int) -> None:
        """Send a child a signal, if it lives."""
        self._tell(do="signal", pid=pid, signal=number)

    def close(self) -> None:
        """End the launcher, and with it every child and what they have started."""
        if not self.gone:
            self._end(wait=bool(self._endings))

    def _tell(self, **what: Any) -> None:
        if self.gone:
            return
        try:
            self._control.sendall(json.dumps(what).encode() + b"\n")
        except OSError:
            self._end()

    def _hear(self) -> None:
        try:
            heard = self._control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            self._end()
            return
        *lines, self._heard = (self._heard + heard).split(b"\n")
        for line in lines:
            self._note(json.loads(line))

    def _note(self, told: dict[str, Any]) -> None:
        match told:
            case {"launched": number, "pid": pid}:
                ending = self._endings[pid] = self._loop.create_future()
                self._launching.pop(number).set_result(Launched(pid, ending))
            case {"failed": number, "error": error}:
                self._launching.pop(number).set_exception(OSError(error))
            case {"ended": pid, "code": code, "peak": peak}:
                self._endings.pop(pid).set_result(Ending(code, peak))
            case {"does": method}:
                self._on_method(method, told.get("why"))

    def _end(self, *, wait: bool = False) -> None:
        """Close it; whoever waits learns that there is no launcher any more.

        Without children it may be in the middle of an import, and is not waited for.
        """
        self.gone = True
        self._loop.remove_reader(self._control)
        self._control.close()
        if wait:
            # It now ends its children, and what they have started.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(ENDS_WITHIN)
        self._process.kill()
        self._process.wait()
        for launching in self._launching.values():
            launching.set_exception(LauncherGone())
        self._launching.clear()
        for pid, ending in self._endings.items():
            # Its end has taken them along; where the kernel cannot see to that, we do.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            ending.set_result(Ending(-signal.SIGKILL, None))
        self._endings.clear()
