"""Handlers, and a module, that do what they should not: each must cost only itself.

At the top level of a module, because child processes import it.
"""

import asyncio
import contextvars
import logging
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from milepost import JobContext, SyncJobContext, job
from milepost.jobs.definition import JobDefinition

PATIENCE: Final = 10.0
MORE_THAN_ONE_MAY_LEAVE: Final = 110

_AT_IMPORT: Final[dict[str, Callable[[], object]]] = {
    "nothing": lambda: None,
    "default-sigchld": lambda: signal.signal(signal.SIGCHLD, signal.SIG_DFL),
    "ignore-sigchld": lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    "reap": lambda: signal.signal(signal.SIGCHLD, lambda *_: os.waitpid(-1, os.WNOHANG)),
    "wake-nobody": lambda: signal.set_wakeup_fd(-1),
    "heed-sigterm": lambda: signal.signal(signal.SIGTERM, lambda *_: sys.exit()),
    "close-stdout": sys.stdout.close,
    "forget-stdout": lambda: setattr(sys, "stdout", None),
}
_AT_IMPORT[os.environ.get("AT_IMPORT", "nothing")]()
if Path(os.environ.get("BREAKS_WHILE", "nowhere")).exists():
    raise RuntimeError("no licence")


async def leave(how: type[BaseException]) -> None:
    raise how


@job("exits-in-a-task-coroutine")
async def exits_in_a_task(ctx: JobContext[None], args: int) -> None:
    await asyncio.create_task(leave(SystemExit))


@job("interrupts-in-a-task-coroutine")
async def interrupts_in_a_task(ctx: JobContext[None], args: int) -> None:
    await asyncio.create_task(leave(KeyboardInterrupt))


@job("stops-its-loop-coroutine")
async def stops_its_loop(ctx: JobContext[None], args: int) -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0)


@job("tells-its-process-process", pool="process")
def tells_its_process(ctx: SyncJobContext[None], args: int) -> int:
    return os.getpid()


def note(file: str, line: str) -> None:
    with Path(file).open("a") as opened:
        opened.write(f"{line}\n")


@job("swallows-its-cancel-process", pool="process")
async def swallows_its_cancel(ctx: JobContext[None], args: str) -> None:
    """Writes a line to a file each time that it is cancelled."""
    while True:
        ctx.progress(1)
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            note(args, "swallowed")


@job("ends-its-copy-process", pool="process")
def ends_its_copy(ctx: SyncJobContext[None], args: int) -> int | None:
    """Returns the exit code of a copy of this process that was told to go."""
    ours, theirs = multiprocessing.Pipe()

    def stay() -> None:
        # A signal that comes while Python still forks is lost, whoever sends it.
        theirs.send("here")
        time.sleep(PATIENCE)

    copy = multiprocessing.get_context("fork").Process(target=stay)
    copy.start()
    ours.recv()
    copy.terminate()
    copy.join(PATIENCE / 2)
    return copy.exitcode


_seen: contextvars.ContextVar[int] = contextvars.ContextVar("_seen", default=0)


@job("sets-a-variable-process", pool="process")
def sets_a_variable(ctx: SyncJobContext[None], args: int) -> list[int]:
    """Returns its process, and what it has found in a variable that it then sets."""
    found = _seen.get()
    _seen.set(found + 1)
    return [os.getpid(), found]


@job("lowers-its-limit-process", pool="process", memory_limit=500_000_000)
def lowers_its_limit(ctx: SyncJobContext[None], args: int) -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, soft))
    if os.geteuid() == 0:
        # Only root may raise it again.
        os.seteuid(65534)
    return os.getpid()


@job("leaves-zombies-process", pool="process")
def leaves_zombies(ctx: SyncJobContext[None], args: int) -> int:
    for _ in range(MORE_THAN_ONE_MAY_LEAVE):
        if os.fork() == 0:
            os._exit(0)
    return os.getpid()


@job("logs-process", pool="process")
def logs(ctx: SyncJobContext[None], args: str) -> int:
    """Logs a line to a logger, with attributes of the same names as the job's own."""
    extra = {"job_id": ["no", "number"], "kind": object()}
    logging.getLogger(args).error("a line", extra=extra)
    return os.getpid()


class Echo:
    """A handler that is an object, as one with settings of its own may be."""

    def __call__(self, ctx: SyncJobContext[None], args: int) -> int:
        return args


class AsyncEcho:
    async def __call__(self, ctx: JobContext[None], args: int) -> int:
        return args


echoes = job("echoes-process", pool="process")(Echo())
echoes_async = job("echoes-async-process", pool="process")(AsyncEcho())

DEFINITIONS: Final[dict[str, JobDefinition[Any, Any, Any]]] = {
    each.kind: each for each in list(globals().values()) if isinstance(each, JobDefinition)
}
