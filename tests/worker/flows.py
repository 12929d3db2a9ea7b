"""Jobs that wait for others, as the tests of workers and brokers run them."""

import asyncio
from dataclasses import dataclass

from sqlalchemy import Connection

from milepost import JobContext, SyncJobContext, Unrecoverable, child, job
from tests.worker.rows import insert_row


@dataclass(frozen=True)
class Split:
    """A checkpoint: whether the children were submitted."""

    done: bool = False


@job("square")
async def square(ctx: JobContext[None], args: int) -> int:
    if args < 0:
        raise Unrecoverable(f"{args} is below zero")
    return args * args


@job("sleep")
async def sleep(ctx: JobContext[None], args: int) -> None:
    await asyncio.sleep(args)


@job("sum-of-squares")
async def sum_of_squares(ctx: JobContext[None], args: str) -> int:
    return sum([each.result async for each in ctx.children(square)])


@job("split-in-coroutine", max_attempts=1)
async def split_in_coroutine(ctx: JobContext[Split], args: list[int]) -> int:
    if not ctx.checkpoint.done:
        await ctx.save(Split(True), children=[child(square, each) for each in args])
    await ctx.wait_for_children()
    return sum([each.result async for each in ctx.children(square)])


@job("split-in-thread", max_attempts=1)
def split_in_thread(ctx: SyncJobContext[Split], args: list[int]) -> int:
    if not ctx.checkpoint.done:
        ctx.save(Split(True), children=[child(square, each) for each in args])
    ctx.wait_for_children()
    return sum(each.result for each in ctx.children(square))


@job("split-in-process", max_attempts=1, pool="process")
def split_in_process(ctx: SyncJobContext[Split], args: list[int]) -> int:
    if not ctx.checkpoint.done:
        ctx.save(Split(True), children=[child(square, each) for each in args])
    ctx.wait_for_children()
    return sum(each.result for each in ctx.children(square))


@job("split-and-see", max_attempts=1)
async def split_and_see(ctx: JobContext[Split], args: list[int]) -> list[str]:
    if not ctx.checkpoint.done:
        await ctx.save(Split(True), children=[child(square, each) for each in args])
    await ctx.wait_for_children(on_failure="go-on")
    return [f"{each.args}: {each.state}" async for each in ctx.children(square)]


def insert_and_break(conn: Connection) -> None:
    insert_row(conn, 1)
    raise OSError("the write broke")
