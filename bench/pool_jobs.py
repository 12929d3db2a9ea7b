"""The pools' jobs as Milepost runs them; each does what bench/pool_work.py says."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pool_work
from milepost import JobContext, JobDefinition, SyncJobContext, job


@dataclass(frozen=True)
class Told:
    """What a job is told: a number, or where to note its moments."""

    number: int = 0
    seconds: float = 0.0
    moments: str = ""


@job("coroutine-nothing")
async def coroutine_nothing(ctx: JobContext[None], args: Told) -> int:
    return pool_work.nothing(args.number)


@job("coroutine-burn")
async def coroutine_burn(ctx: JobContext[None], args: Told) -> int:
    return pool_work.burn(args.number)


@job("coroutine-nap")
async def coroutine_nap(ctx: JobContext[None], args: Told) -> float:
    await asyncio.sleep(args.seconds)
    return args.seconds


@job("coroutine-wait")
async def coroutine_wait(ctx: JobContext[None], args: Told) -> None:
    """Wait to be told to stop."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        loop.call_soon_threadsafe(told.set)

    ctx.cancel.on_stop(tell)
    pool_work.note(args.moments)
    await told.wait()
    ctx.cancel.raise_if_stopped()


@job("thread-nothing")
def thread_nothing(ctx: SyncJobContext[None], args: Told) -> int:
    return pool_work.nothing(args.number)


@job("thread-burn")
def thread_burn(ctx: SyncJobContext[None], args: Told) -> int:
    return pool_work.burn(args.number)


@job("thread-nap")
def thread_nap(ctx: SyncJobContext[None], args: Told) -> float:
    return pool_work.nap(args.seconds)


@job("thread-wait")
def thread_wait(ctx: SyncJobContext[None], args: Told) -> None:
    """Wait to be told to stop."""
    pool_work.note(args.moments)
    ctx.cancel.wait(60)
    ctx.cancel.raise_if_stopped()


@job("thread-compute")
def thread_compute(ctx: SyncJobContext[None], args: Told) -> None:
    """Compute, and look every millisecond whether to stop."""
    pool_work.note(args.moments)
    while True:
        pool_work.burn(0, seconds=0.001)
        ctx.cancel.raise_if_stopped()


@job("process-nothing", pool="process")
def process_nothing(ctx: SyncJobContext[None], args: Told) -> int:
    return pool_work.nothing(args.number)


@job("process-burn", pool="process")
def process_burn(ctx: SyncJobContext[None], args: Told) -> int:
    return pool_work.burn(args.number)


@job("process-nap", pool="process")
def process_nap(ctx: SyncJobContext[None], args: Told) -> float:
    return pool_work.nap(args.seconds, args.moments)


@job("process-wait", pool="process")
def process_wait(ctx: SyncJobContext[None], args: Told) -> None:
    """Wait to be told to stop."""
    pool_work.note(args.moments)
    ctx.cancel.wait(60)
    ctx.cancel.raise_if_stopped()


@job("process-compute", pool="process")
def process_compute(ctx: SyncJobContext[None], args: Told) -> None:
    """Compute, and look every millisecond whether to stop."""
    pool_work.note(args.moments)
    while True:
        pool_work.burn(0, seconds=0.001)
        ctx.cancel.raise_if_stopped()


@job("process-never", pool="process")
def process_never(ctx: SyncJobContext[None], args: Told) -> None:
    pool_work.never_return(args.moments)


@job("process-deaf", pool="process")
def process_deaf(ctx: SyncJobContext[None], args: Told) -> None:
    pool_work.never_hear(args.moments)


@job("process-die", pool="process")
def process_die(ctx: SyncJobContext[None], args: Told) -> None:
    pool_work.die_once(args.moments)


@job("process-weigh", pool="process")
def process_weigh(ctx: SyncJobContext[None], args: Told) -> pool_work.Weight:
    return pool_work.weigh_in()


# By their kinds: the pool's name and what they do.
JOBS: dict[str, JobDefinition[Told, None, Any]] = {
    each.kind: each
    for each in (
        coroutine_nothing, coroutine_burn, coroutine_nap, coroutine_wait,
        thread_nothing, thread_burn, thread_nap, thread_wait, thread_compute,
        process_nothing, process_burn, process_nap, process_wait, process_compute,
        process_never, process_deaf, process_die, process_weigh,
    )
}  # fmt: skip
