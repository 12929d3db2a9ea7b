"""Small jobs that prove a deployment: one each that succeeds, reports, fails once, is cancelled."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from milepost.jobs.backoff import Backoff
from milepost.jobs.context import JobContext
from milepost.jobs.definition import job
from milepost.jobs.progress import Progress

STEPS = 5


@dataclass(frozen=True)
class CheckArgs:
    """The checks need nothing."""


@dataclass(frozen=True)
class Step:
    """How many steps are saved."""

    done: int = 0


@job("milepost-check-succeed")
async def check_succeed(ctx: JobContext[None], args: CheckArgs) -> str:  # noqa: ARG001
    """Return something."""
    return "done"


@job("milepost-check-progress")
async def check_progress(ctx: JobContext[Step], args: CheckArgs) -> int:  # noqa: ARG001
    """Save and report a few steps."""
    for step in range(ctx.checkpoint.done + 1, STEPS + 1):
        await ctx.save(Step(step), progress=Progress(step, STEPS, f"step {step}"))
        await asyncio.sleep(0.05)
    return STEPS


@job("milepost-check-retry", max_attempts=2, backoff=Backoff(first=timedelta(milliseconds=100)))
async def check_retry(ctx: JobContext[None], args: CheckArgs) -> int:  # noqa: ARG001
    """Fail once, then succeed."""
    if ctx.attempt == 1:
        raise RuntimeError("this check fails once, on purpose")
    return ctx.attempt


@job("milepost-check-cancel", time_limit=timedelta(minutes=1))
async def check_cancel(ctx: JobContext[None], args: CheckArgs) -> None:  # noqa: ARG001
    """Run until cancelled."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        loop.call_soon_threadsafe(told.set)

    ctx.cancel.on_stop(tell)
    await told.wait()
    ctx.cancel.raise_if_stopped()


CHECKS = (check_succeed, check_progress, check_retry, check_cancel)
