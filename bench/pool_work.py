"""What the pools' jobs do, for every side alike. Children import this: it imports next to nothing.

Moments are of CLOCK_MONOTONIC, in nanoseconds: on Linux all processes share it.
"""

import importlib
import os
import signal
import time
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

CPU_SECONDS: Final = 0.010


class Note(NamedTuple):
    """A moment, and the process that noted it."""

    at: int
    pid: int


class Weight(NamedTuple):
    """When a child's first job began, and what the child then weighs, in kB."""

    began_at: int
    pid: int
    rss: int
    pss: int
    private: int


def nothing(number: int) -> int:
    return number


def burn(number: int, seconds: float = CPU_SECONDS) -> int:
    """Compute for so much time of this thread's own on a core, however long that takes."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    return number


def nap(seconds: float, begun: str = "") -> float:
    note(begun)
    time.sleep(seconds)
    return seconds


def never_return(begun: str) -> NoReturn:
    note(begun)
    while True:
        pass


def never_hear(begun: str) -> NoReturn:
    """Never return, and be deaf to all signals but SIGKILL."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    never_return(begun)


def die_once(moments: str) -> None:
    """Kill its own process, and note that moment; the next time, note the moment and return."""
    if Path(moments).exists():
        note(moments)
        return
    time.sleep(0.05)
    note(moments)
    os.kill(os.getpid(), signal.SIGKILL)


def weigh_in(imports: str | None = None) -> Weight:
    if imports is not None:
        importlib.import_module(imports)
    began_at = time.monotonic_ns()
    return weight_of(os.getpid(), began_at)


def weight_of(pid: int, began_at: int = 0) -> Weight:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    held = {name: int(size.split()[0]) for name, size in (line.split(":") for line in lines)}
    private = held["Private_Clean"] + held["Private_Dirty"]
    return Weight(began_at, pid, held["Rss"], held["Pss"], private)


def note(path: str) -> None:
    """Add this moment and this process to a file, where one is named."""
    if not path:
        return
    with open(path, "a") as file:  # noqa: PTH123 (a tenth of the time: a job dies right after)
        file.write(f"{time.monotonic_ns()} {os.getpid()}\n")


def noted(path: str, lines: int = 1, *, within: float = 30.0) -> list[Note]:
    """Wait for so many notes in a file."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if Path(path).exists():
            found = [line.split() for line in Path(path).read_text().splitlines()]
            if len(found) >= lines:
                return [Note(int(at), int(pid)) for at, pid in found]
        time.sleep(0.001)
    raise TimeoutError(f"no {lines} notes in {path} within {within} s")
