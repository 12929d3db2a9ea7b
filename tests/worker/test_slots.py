"""Free slots are used, however few."""

import asyncio

from milepost import JobContext, job
from milepost.jobs.events import AttemptStarted
from tests.worker.apps import OpenApp
from tests.worker.waiting import SOON, eventually


async def test_a_job_waits_for_none_of_the_long_ones_while_a_slot_is_free(
    open_app: OpenApp,
) -> None:
    @job("long")
    async def long(ctx: JobContext[None], args: int) -> None:
        while not ctx.cancel.requested and not ctx.stopping:
            await asyncio.sleep(0.01)

    @job("short")
    async def short(ctx: JobContext[None], args: int) -> int:
        return args

    app = await open_app(long, short, concurrency=40)
    async with app.worker():
        await app.submit_many(long, range(32))
        await eventually(lambda: len(app.happened(AttemptStarted)) == 32)
        assert await (await app.submit(short, 7)).result(SOON) == 7
