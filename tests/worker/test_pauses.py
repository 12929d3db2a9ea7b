"""A queue that is paused: what runs goes on, and nothing else begins."""

import asyncio
from datetime import timedelta

import pytest

from milepost import JobContext, Milepost, Settings, WorkerSettings, job
from milepost.settings import RedisSettings
from milepost.store import overview, pauses

SOON = timedelta(seconds=30)


@job("quick")
async def quick(ctx: JobContext[None], args: int) -> int:
    return args


@job("slow", queue="other")
async def slow(ctx: JobContext[None], args: int) -> int:
    await asyncio.sleep(0.2)
    return args


@pytest.mark.parametrize("broker", ["sql", "bullmq"])
async def test_nothing_of_a_paused_queue_begins_until_it_is_resumed(
    postgres_store_url: str, redis_settings: RedisSettings, broker: str
) -> None:
    settings = Settings(
        database_url=postgres_store_url,
        redis=redis_settings if broker == "bullmq" else RedisSettings(),
        worker=WorkerSettings(poll_every=timedelta(milliseconds=50)),
    )
    milepost = Milepost([quick, slow], settings=settings, observers=())
    async with milepost:
        database = milepost.database
        await database.run(pauses.pause, database.clock, "default")
        await database.run(pauses.pause, database.clock, "default")
        held = await milepost.submit_many(quick, [1, 2, 3])
        async with milepost.worker():
            # Another queue goes on meanwhile, for several polls.
            for each in range(5):
                assert await (await milepost.submit(slow, each)).result(SOON) == each
            assert {(await handle.view()).state for handle in held} == {"available"}
            [queue] = [
                each for each in await database.query(overview.queues) if each.name == "default"
            ]
            assert (queue.paused, queue.available) == (True, 3)
            await database.run(pauses.resume, "default")
            assert [await handle.result(SOON) for handle in held] == [1, 2, 3]


@pytest.mark.parametrize("broker", ["sql", "bullmq"])
async def test_nothing_of_a_paused_kind_begins_and_others_of_its_queue_do(
    postgres_store_url: str, redis_settings: RedisSettings, broker: str
) -> None:
    settings = Settings(
        database_url=postgres_store_url,
        redis=redis_settings if broker == "bullmq" else RedisSettings(),
        worker=WorkerSettings(poll_every=timedelta(milliseconds=50)),
    )
    milepost = Milepost([quick, slow], settings=settings, observers=())
    async with milepost:
        database = milepost.database
        await database.run(pauses.pause_kind, database.clock, "quick")
        held = await milepost.submit_many(quick, [1, 2, 3])
        async with milepost.worker():
            for each in range(3):
                handle = await milepost.submit(slow, each, queue="default")
                assert await handle.result(SOON) == each
            assert {(await handle.view()).state for handle in held} == {"available"}
            await database.run(pauses.resume_kind, "quick")
            assert [await handle.result(SOON) for handle in held] == [1, 2, 3]
