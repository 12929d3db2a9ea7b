"""Wrong checkpoints, and write functions that do not fit what they are given."""

from milepost import JobContext, SyncJobContext
from tests.typing.definitions import At, Other, write


async def saves(ctx: JobContext[At]) -> None:
    await ctx.save(Other(1))  # error
    await ctx.save(7, write, 1)  # error
    await ctx.save(At(1), write, "one")  # error
    await ctx.save(At(1), write)  # error
    page: str = ctx.checkpoint.page  # error
    print(page)


def saves_in_a_thread(ctx: SyncJobContext[At]) -> None:
    ctx.save(Other(1))  # error
    ctx.save(At(1), write, "one")  # error
