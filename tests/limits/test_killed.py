"""A worker is killed: what it held under a limit is free again, and not before it is rescued."""

from collections.abc import Awaitable
from pathlib import Path

import pytest
from bullmq import Queue
from sqlalchemy import Connection, select

from milepost.settings import RedisSettings
from milepost.store.tables import jobs
from tests.chaos.processes import worker
from tests.limits.app import Visit, count_running, opened, visit
from tests.worker.waiting import eventually


def attempts_running(conn: Connection) -> list[int]:
    return list(conn.execute(select(jobs.c.attempt).where(jobs.c.state == "running")).scalars())


@pytest.mark.parametrize("broker", ["sql", "bullmq"])
async def test_a_killed_worker_frees_what_it_held(
    postgres_url: str, redis_settings: RedisSettings, tmp_path: Path, broker: str
) -> None:
    redis = redis_settings if broker == "bullmq" else None
    more = {"MILEPOST_APP": "tests.limits.program:milepost"}
    if redis is not None:
        more |= {"REDIS_URL": redis.url or "", "MILEPOST_REDIS_PREFIX": redis.prefix}
    async with opened(postgres_url, redis) as (milepost, stack):
        database = milepost.database
        await milepost.submit_many(visit, [Visit("acme", 60)] * 5)
        with worker(postgres_url, tmp_path / "log", **more) as process:
            await eventually(lambda: database.query(attempts_running), what="a start")
            await stack.enter_async_context(milepost.worker())
            assert await database.query(count_running) == 2
            process.kill()
            # The other worker has both places, with what it rescued.
            await eventually(
                lambda: taken_over(database.query(attempts_running)), what="the rescue"
            )
        assert await database.query(count_running) == 2


async def taken_over(found: Awaitable[list[int]]) -> bool:
    return await found == [2, 2]


async def test_what_node_adds_is_held_back_too_and_holds_up_nothing(
    postgres_url: str, redis_settings: RedisSettings
) -> None:
    async with opened(postgres_url, redis_settings) as (milepost, stack):
        queue = Queue(
            "default", {"connection": redis_settings.url, "prefix": redis_settings.prefix}
        )
        for shop in ["acme"] * 150 + ["ajax"] * 2:
            await queue.add("visit", {"shop": shop, "seconds": 60 if shop == "acme" else 0}, {})
        await stack.enter_async_context(milepost.worker())

        def done(conn: Connection) -> bool:
            ended = select(jobs.c.args).where(jobs.c.state == "completed")
            return len(conn.execute(ended).all()) == 2

        await eventually(lambda: milepost.database.query(done), what="both of ajax")
        assert await milepost.database.query(count_running) == 2

        async def told() -> bool:
            counts = await queue.getJobCounts("active", "delayed", "waiting")
            return (counts["active"], counts["delayed"] + counts["waiting"]) == (2, 148)

        # Redis hears of an end once the store has it.
        await eventually(told, what="2 at work and 148 held back in Redis")
        await queue.close()
