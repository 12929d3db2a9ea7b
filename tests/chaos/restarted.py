"""Short jobs in several steps, in all three pools: for workers that are restarted under them."""

import asyncio
import time
from dataclasses import dataclass

from sqlalchemy import Connection, text

from milepost import JobContext, Milepost, SyncJobContext, job


@dataclass(frozen=True)
class Steps:
    """So many steps, each of so many seconds."""

    number: int
    seconds: float


@dataclass(frozen=True)
class Done:
    step: int = 0


def insert(conn: Connection, job_id: int, step: int) -> None:
    conn.execute(text("INSERT INTO steps VALUES (:job, :step)"), {"job": job_id, "step": step})


def _take_steps(ctx: SyncJobContext[Done], args: Steps) -> int:
    for step in range(ctx.checkpoint.step + 1, args.number + 1):
        time.sleep(args.seconds)
        ctx.save(Done(step), insert, ctx.job_id, step)
    return ctx.attempt


@job("steps-in-process", pool="process")
def steps_in_process(ctx: SyncJobContext[Done], args: Steps) -> int:
    return _take_steps(ctx, args)


@job("steps-in-thread")
def steps_in_thread(ctx: SyncJobContext[Done], args: Steps) -> int:
    return _take_steps(ctx, args)


@job("steps-in-coroutine")
async def steps_in_coroutine(ctx: JobContext[Done], args: Steps) -> int:
    for step in range(ctx.checkpoint.step + 1, args.number + 1):
        await asyncio.sleep(args.seconds)
        await ctx.save(Done(step), insert, ctx.job_id, step)
    return ctx.attempt


KINDS = (steps_in_process, steps_in_thread, steps_in_coroutine)

milepost = Milepost(KINDS)
