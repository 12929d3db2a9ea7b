"""Stands between a worker and a program that reads a source, and outlives neither.

It is run as a file, by an interpreter alone: `guard.py FOLDER GRACE PROGRAM ARGUMENT …`
Its standard input is a pipe that the worker holds and never writes to. Its end, whether the worker
closed it or died, ends the program with all that it has started; then the folder with its files,
which hold secrets, is removed.
"""

import contextlib
import ctypes
import os
import select
import shutil
import signal
import sys
import time
from typing import Final, NoReturn

_PR_SET_PDEATHSIG: Final = 1
# A worker's child may hold the pipe's other end for a moment longer than the worker lives.
_LOOK_EVERY: Final = 0.5
_NOT_STARTED: Final = 127


def main(folder: str, grace: float, command: list[str]) -> NoReturn:
    """Run a command until it ends or the worker is gone; exit as it did."""
    worker = os.getppid()
    # A stop in the terminal is for the worker, which ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ours, theirs = os.pipe()
    signal.set_wakeup_fd(_unblocked(theirs))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    program = os.fork()
    if program == 0:
        _become(command)
    with contextlib.suppress(OSError):
        # Whichever of both is first: its group must be there when it is to be ended.
        os.setpgid(program, program)
    # The program alone holds its output, so that the worker sees where it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    status = None
    while status is None and os.getppid() == worker:
        ready, _, _ = select.select([0, ours], [], [], _LOOK_EVERY)
        if 0 in ready and not os.read(0, 1):
            break
        if ours in ready:
            os.read(ours, 512)
        status = _ended(program)
    status = _end(program, grace, status)
    shutil.rmtree(folder, ignore_errors=True)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _become(command: list[str]) -> NoReturn:
    try:
        os.setpgid(0, 0)
        if sys.platform == "linux":
            # Only the kernel can tell it when this process is killed.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(_NOT_STARTED)


def _end(program: int, grace: float, status: int | None) -> int:
    """End what is left of the program's group: politely, then not."""
    if status is None:
        _signal(program, signal.SIGTERM)
        deadline = time.monotonic() + grace
        while (status := _ended(program)) is None and time.monotonic() < deadline:
            time.sleep(0.01)
    # Its own children too, which outlive it if it has not waited for them.
    _signal(program, signal.SIGKILL)
    return os.waitpid(program, 0)[1] if status is None else status


def _signal(program: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(program, number)


def _ended(program: int) -> int | None:
    pid, status = os.waitpid(program, os.WNOHANG)
    return status if pid else None


def _unblocked(descriptor: int) -> int:
    os.set_blocking(descriptor, False)
    return descriptor


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
