"""Handlers that run into their limits, each as its pool runs it; children import them."""

import asyncio
import time
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection

from milepost import JobContext, JobDefinition, SyncJobContext, job

PATIENCE: Final = 30.0
SHORT: Final = timedelta(seconds=0.3)
# For those that must not run into it, however busy the machine is.
LONG: Final = timedelta(seconds=1)
# What they do takes longer than their limit, by more than it takes to look at that.
PAST_THE_LIMIT: Final = LONG.total_seconds() + 0.3


@job("silent-thread", silence_limit=SHORT, max_attempts=1)
def silent_thread(ctx: SyncJobContext[int], args: int) -> None:
    ctx.cancel.wait(PATIENCE)
    ctx.cancel.raise_if_cancelled()


@job("silent-coroutine", silence_limit=SHORT, max_attempts=1)
async def silent_coroutine(ctx: JobContext[int], args: int) -> None:
    await asyncio.sleep(PATIENCE)


@job("silent-process", silence_limit=SHORT, max_attempts=1, pool="process")
def silent_process(ctx: SyncJobContext[int], args: int) -> None:
    time.sleep(PATIENCE)


@job("heard-of-thread", silence_limit=LONG, max_attempts=1)
def heard_of_thread(ctx: SyncJobContext[int], args: int) -> int:
    return speak_past_the_limit(ctx)


@job("heard-of-process", silence_limit=LONG, max_attempts=1, pool="process")
def heard_of_process(ctx: SyncJobContext[int], args: int) -> int:
    return speak_past_the_limit(ctx)


@job("saves-long-thread", silence_limit=LONG, max_attempts=1)
def saves_long_thread(ctx: SyncJobContext[int], args: int) -> int:
    ctx.save(1, write_past_the_limit)
    return 1


@job("saves-long-process", silence_limit=LONG, max_attempts=1, pool="process")
def saves_long_process(ctx: SyncJobContext[int], args: int) -> int:
    ctx.save(1, write_past_the_limit)
    return 1


def write_past_the_limit(conn: Connection) -> None:
    time.sleep(PAST_THE_LIMIT)


def speak_past_the_limit(ctx: SyncJobContext[int]) -> int:
    end = time.monotonic() + PAST_THE_LIMIT
    said = 0
    while time.monotonic() < end:
        said += 1
        # By turns, because either will do.
        if said % 2:
            ctx.progress(said)
        else:
            ctx.save(said)
        time.sleep(0.02)
    return said


@job("burns-thread", cpu_limit=SHORT, max_attempts=1)
def burns_thread(ctx: SyncJobContext[int], args: int) -> None:
    while True:
        sum(range(1000))
        ctx.cancel.raise_if_cancelled()


@job("burns-process", cpu_limit=SHORT, max_attempts=1, pool="process")
def burns_process(ctx: SyncJobContext[int], args: int) -> None:
    while True:
        sum(range(1000))


@job("idles-process", cpu_limit=SHORT, max_attempts=1, pool="process")
def idles_process(ctx: SyncJobContext[int], args: int) -> str:
    """Takes three times its CPU limit, of which it uses next to nothing."""
    time.sleep(3 * SHORT.total_seconds())
    return "done"


@job("hoards", memory_limit=200_000_000, max_attempts=1, pool="process")
def hoards(ctx: SyncJobContext[int], args: int) -> None:
    kept = []
    while True:
        kept.append(bytearray(5_000_000))
        time.sleep(0.005)


@job("asks-for-too-much", memory_limit=200_000_000, max_attempts=1, pool="process")
def asks_for_too_much(ctx: SyncJobContext[int], args: int) -> int:
    return len(bytearray(20_000_000_000))


@job("late-process", max_attempts=1, time_limit=SHORT, pool="process")
async def late_process(ctx: JobContext[int], args: int) -> None:
    await asyncio.sleep(PATIENCE)


WORDS: Final[dict[JobDefinition[Any, Any, Any], str]] = {
    silent_thread: "silence limit: neither saved nor reported progress for 0:00:00.300000",
    silent_coroutine: "silence limit: neither saved nor reported progress for 0:00:00.300000",
    silent_process: "silence limit: neither saved nor reported progress for 0:00:00.300000",
    burns_thread: "CPU limit: used more than 0:00:00.300000 of CPU time",
    burns_process: "CPU limit: used more than 0:00:00.300000 of CPU time",
    hoards: "memory limit: used ",
    asks_for_too_much: "memory limit: refused what is far past 200 MB",
    late_process: "time limit: ran longer than 0:00:00.300000",
}
