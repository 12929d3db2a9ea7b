"""What the pools' contract runs: each behaviour as `def` and as `async def`, in each pool.

At the top level of a module, because child processes import it.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import svcs
from sqlalchemy import Connection, text

from milepost import JobContext, Progress, Snooze, SyncJobContext, Unrecoverable, job
from milepost.jobs.definition import JobDefinition, PoolName

PATIENCE: Final = 30.0
while Path(os.environ.get("HANGS_WHILE", "nowhere")).exists():
    # A test wants nobody to import this module just now.
    time.sleep(0.05)
VARIANTS: Final[dict[str, tuple[PoolName, bool]]] = {
    "coroutine": ("coroutine", True),
    "thread": ("thread", False),
    "process": ("process", False),
    "process-async": ("process", True),
}


@dataclass(frozen=True)
class Step:
    number: int = 0


@dataclass
class Counter:
    """A service: how many attempts it has served."""

    served: int = 0
    closed: bool = False


def insert(conn: Connection, number: int) -> None:
    conn.execute(text("INSERT INTO steps VALUES (:number)"), {"number": number})


def answers(ctx: SyncJobContext[Step], args: int) -> int:
    return args + 1


async def answers_async(ctx: JobContext[Step], args: int) -> int:
    return args + 1


def raises(ctx: SyncJobContext[Step], args: int) -> None:
    raise LookupError(f"no {args}")


async def raises_async(ctx: JobContext[Step], args: int) -> None:
    raise LookupError(f"no {args}")


def saves(ctx: SyncJobContext[Step], args: int) -> int:
    for number in range(ctx.checkpoint.number + 1, args + 1):
        ctx.log.info("step %d", number)
        ctx.save(Step(number), insert, number, progress=Progress(number, args, "steps"))
    return ctx.checkpoint.number


async def saves_async(ctx: JobContext[Step], args: int) -> int:
    for number in range(ctx.checkpoint.number + 1, args + 1):
        ctx.log.info("step %d", number)
        await ctx.save(Step(number), insert, number, progress=Progress(number, args, "steps"))
    return ctx.checkpoint.number


def looks(ctx: SyncJobContext[Step], args: int) -> str:
    """Looks at its token until it says something."""
    ctx.progress(1)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        ctx.cancel.raise_if_cancelled()
        if ctx.stopping:
            return "saw that the worker stops"
        time.sleep(0.002)
    return "was told nothing"


async def looks_async(ctx: JobContext[Step], args: int) -> str:
    ctx.progress(1)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        ctx.cancel.raise_if_cancelled()
        if ctx.stopping:
            return "saw that the worker stops"
        await asyncio.sleep(0.002)
    return "was told nothing"


def saves_on(ctx: SyncJobContext[Step], args: int) -> None:
    """Saves without end, and looks at nothing."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        ctx.save(Step(ctx.checkpoint.number + 1), progress=Progress(1))


async def saves_on_async(ctx: JobContext[Step], args: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        await ctx.save(Step(ctx.checkpoint.number + 1), progress=Progress(1))


def sleeps(ctx: SyncJobContext[Step], args: int) -> None:
    """Looks at nothing, in a call that a signal interrupts."""
    ctx.progress(1)
    time.sleep(PATIENCE)


async def sleeps_async(ctx: JobContext[Step], args: int) -> None:
    ctx.progress(1)
    await asyncio.sleep(PATIENCE)


def snoozes(ctx: SyncJobContext[Step], args: int) -> None:
    raise Snooze(timedelta(seconds=args), "not yet")


async def snoozes_async(ctx: JobContext[Step], args: int) -> None:
    raise Snooze(timedelta(seconds=args), "not yet")


def gives_up(ctx: SyncJobContext[Step], args: int) -> None:
    raise Unrecoverable("never")


async def gives_up_async(ctx: JobContext[Step], args: int) -> None:
    raise Unrecoverable("never")


def counts(ctx: SyncJobContext[Step], args: int, *, counter: Counter) -> int:
    counter.served += 1
    return counter.served


async def counts_async(ctx: JobContext[Step], args: int, *, counter: Counter) -> int:
    counter.served += 1
    return counter.served


def burns(ctx: SyncJobContext[Step], args: int) -> None:
    """Uses CPU time until it is told to stop."""
    ctx.progress(1)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        sum(range(2000))
        ctx.cancel.raise_if_cancelled()


async def burns_async(ctx: JobContext[Step], args: int) -> None:
    ctx.progress(1)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        sum(range(2000))
        ctx.cancel.raise_if_cancelled()
        await asyncio.sleep(0)


def forks(ctx: SyncJobContext[Step], args: int) -> str:
    """Forgets that a fork returns twice."""
    return "parent" if os.fork() else "copy"


async def forks_async(ctx: JobContext[Step], args: int) -> str:
    return "parent" if os.fork() else "copy"


def mumbles(ctx: SyncJobContext[Step], args: int) -> None:
    """Says what cannot be spelled, in every way there is."""
    ctx.progress(1, message="\udcff")
    ctx.log.info("file %s", "\udcff")
    logging.getLogger("milepost.jobs").warning("%d files", "no number")
    raise OSError("no file \udcff")


async def mumbles_async(ctx: JobContext[Step], args: int) -> None:
    mumbles(ctx, args)  # type: ignore[arg-type]


services = svcs.Registry()
services.register_factory(Counter, Counter)

_BEHAVIOURS: Final[dict[str, tuple[Callable[..., Any], Callable[..., Any]]]] = {
    "answers": (answers, answers_async),
    "raises": (raises, raises_async),
    "saves": (saves, saves_async),
    "looks": (looks, looks_async),
    "saves-on": (saves_on, saves_on_async),
    "sleeps": (sleeps, sleeps_async),
    "snoozes": (snoozes, snoozes_async),
    "gives-up": (gives_up, gives_up_async),
    "counts": (counts, counts_async),
    "burns": (burns, burns_async),
    "forks": (forks, forks_async),
    "mumbles": (mumbles, mumbles_async),
}

DEFINITIONS: Final[dict[str, JobDefinition[Any, Any, Any]]] = {}
for _behaviour, _both in _BEHAVIOURS.items():
    for _variant, (_pool, _is_async) in VARIANTS.items():
        _made: JobDefinition[Any, Any, Any] = job(
            f"{_behaviour}-{_variant}",
            pool=_pool,
            # A thread's clock is read only where there is a limit.
            cpu_limit=None if _pool == "coroutine" else timedelta(hours=1),
        )(_both[_is_async])
        DEFINITIONS[_made.kind] = _made
        # By a name of its own: so a child finds it.
        globals()[_made.kind.replace("-", "_") + "_definition"] = _made
