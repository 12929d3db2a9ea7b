"""The process that starts a worker's child processes, tells of their ends, and outlives nobody.

It runs nothing of the application's once that is imported, so it always answers. When its worker
is gone, however that went, its end of the control socket says so, and it ends every child with all
that the child has started. Where that is safe it has imported the application and forks, which
takes milliseconds where a new interpreter takes half a second, and shares the memory of what is
imported.

Run as a file by a new interpreter: only the standard library, until it is told to import more.
"""

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

# In a child: where the channel to its worker is. Far up, because a handler that closes files
# which are not its own, and then opens others, gets the lowest numbers again.
CHANNEL: Final = 250

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_NEVER_FORK: Final = "this system's libraries do not survive a fork"


class Launcher:
    """Listens to its worker, and to the ends of its children."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: set[int] = set()
        # What the application has started when it was imported.
        self._others: set[int] = set()
        self._lines = b""
        self._descriptors: list[int] = []
        # Runs the child that a fork has made; None: start new interpreters.
        self._forked: Callable[[int], None] | None = None
        self._setup: dict[str, Any] = {}

    def serve(self) -> NoReturn:
        """Go on until the worker is gone."""
        ours, theirs = self._wake = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self._mind_signals()
        while True:
            ready, _, _ = select.select([self._control, ours], [], [])
            if ours in ready:
                ours.recv(4096)
                self._reap()
            if self._control in ready and not self._hear():
                self._end_all()

    def _mind_signals(self) -> None:
        """Be woken by the ends of children, and by nothing else."""
        # Ctrl-C in a terminal, or a stop of the service, is for the worker, which ends us.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake[1].fileno(), warn_on_full_buffer=False)

    def _hear(self) -> bool:
        try:
            heard, descriptors, _, _ = socket.recv_fds(self._control, 65536, 16)
        except ConnectionError:
            return False
        for each in descriptors:
            # A child that held another one's channel would keep it open past that one's end.
            os.set_inheritable(each, False)
        self._descriptors += descriptors
        *lines, self._lines = (self._lines + heard).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return bool(heard)

    def _obey(self, told: dict[str, Any]) -> None:
        match told["do"]:
            case "prepare":
                self._prepare(told)
            case "launch":
                channel, errors = self._descriptors[:2]
                del self._descriptors[:2]
                self._launch(told["number"], channel, errors)
            case "signal":
                # Only here it is certain that the id still is the child's.
                if told["pid"] in self._children:
                    with contextlib.suppress(OSError):
                        os.kill(told["pid"], told["signal"])

    def _prepare(self, told: dict[str, Any]) -> None:
        self._setup = told
        if not told["fork"]:
            return
        if sys.platform != "linux":
            self._say(does="spawn", why=_NEVER_FORK)
            return
        before = _sockets()
        sys.path[:] = told["path"]
        # An import may hang: until there are children to end, the kernel may end us.
        die_with_parent(signal.SIGKILL)
        try:
            from milepost.pools.process import child

            forked = child.prepare(told["setup"])
        except BaseException as error:  # noqa: BLE001 (whatever an application raises at import)
            # A new interpreter meets the same, and says so to its worker.
            self._say(does="spawn", why=f"{type(error).__name__}: {error}")
            return
        finally:
            die_with_parent(0)
            # An application may have had its own mind about them when it was imported.
            self._mind_signals()
        threads = len(list(Path("/proc/self/task").iterdir())) - 1
        opened = len(_sockets() - before)
        if threads or opened:
            counts = {"threads": threads, "sockets": opened}
            what = " and ".join(f"{name} ({n})" for name, n in counts.items() if n)
            self._say(does="spawn", why=f"importing the application leaves {what} open")
            return
        for stream in (sys.stdout, sys.stderr):
            # What is still buffered here, every child would print.
            with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or none
                stream.flush()
        self._others = own_children()
        gc.collect()
        # What is here stays: a collector that walked it would copy its pages into every child.
        gc.freeze()
        self._forked = forked
        self._say(does="fork")

    def _launch(self, number: int, channel: int, errors: int) -> None:
        try:
            start = self._spawn if self._forked is None else self._fork
            pid = start(channel, errors)
        except OSError as error:
            self._say(failed=number, error=str(error))
            return
        finally:
            os.close(channel)
            os.close(errors)
        self._children.add(pid)
        self._say(launched=number, pid=pid)

    def _fork(self, channel: int, errors: int) -> int:
        launcher = os.getpid()
        pid = os.fork()
        if pid == 0 and self._forked is not None:
            try:
                os.setpgid(0, 0)
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                self._control.close()
                for end in self._wake:
                    end.close()
                os.dup2(errors, 2)
                os.dup2(channel, CHANNEL, inheritable=False)
                for each in (channel, errors, *self._descriptors):
                    os.close(each)
                die_with_parent(signal.SIGKILL, of=launcher)
                adopt_orphans()
                self._forked(CHANNEL)
            except BaseException:  # noqa: BLE001 (the worker keeps what we print last)
                traceback.print_exc()
            finally:
                os._exit(1)
        return pid

    def _spawn(self, channel: int, errors: int) -> int:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-c", self._setup["program"], str(os.getpid())],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, errors, 2),
                (os.POSIX_SPAWN_DUP2, channel, CHANNEL),
            ],
            setpgroup=0,
            setsigdef=[signal.SIGCHLD, signal.SIGINT],
        )

    def _reap(self) -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            if ended.si_pid in self._children:
                # What it has started goes with it; until it is reaped the number is its own.
                _end_group(ended.si_pid)
            pid, status, usage = os.wait4(ended.si_pid, 0)
            # What it had put into a session of its own is ours by now.
            self._end_strays()
            if pid in self._children:
                self._children.discard(pid)
                peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
                self._say(ended=pid, code=os.waitstatus_to_exitcode(status), peak=peak)

    def _end_strays(self) -> None:
        for pid in own_children() - self._children - self._others:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def _say(self, **what: Any) -> None:
        try:
            self._control.sendall(json.dumps(what).encode() + b"\n")
        except OSError:
            self._end_all()

    def _end_all(self) -> NoReturn:
        for pid in self._children:
            _end_group(pid)
        with contextlib.suppress(ChildProcessError):
            while own_children() - self._others:
                os.waitpid(-1, 0)
                self._children.clear()
                self._end_strays()
        os._exit(0)


def die_with_parent(number: int, *, of: int | None = None) -> None:
    """Let the kernel send this signal when the parent ends, where it can do that; 0: no more.

    `of` is the id of the parent, which may have ended already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if of is not None and os.getppid() != of:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of what our children leave behind, where the kernel can do that.

    Each child does so as well: then what it has started becomes the launcher's when it ends, and
    not before.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def own_children() -> set[int]:
    """The ids of what this process's main thread has started or adopted, ended or not."""
    try:
        listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:
        return set()
    return {int(pid) for pid in listed.split()}


def _end_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _sockets() -> set[str]:
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        try:
            target = str(each.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def main() -> None:
    """Serve the worker whose control socket is given by its number."""
    adopt_orphans()
    threading.current_thread().name = "milepost-launcher"
    control = socket.socket(fileno=int(sys.argv[1]))
    # A child that held it, or what a child has started, would keep our end from being seen.
    control.set_inheritable(False)
    Launcher(control).serve()


if __name__ == "__main__":
    main()
