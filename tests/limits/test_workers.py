"""Four workers under load on each broker: limits are never exceeded, and at least 95 % used."""

import asyncio
from collections.abc import Sequence

import pytest

from milepost import JobHandle
from milepost.settings import RedisSettings
from milepost.store.limits import QueueLimits, set_limits
from tests.limits.app import (
    PER,
    SOON,
    Run,
    Visit,
    ask,
    count_running,
    most_at_once,
    most_within,
    opened,
    plain,
    runs,
    take_turns,
    visit,
)


@pytest.fixture(params=["sql", "bullmq"])
def redis(request: pytest.FixtureRequest, redis_settings: RedisSettings) -> RedisSettings | None:
    return redis_settings if request.param == "bullmq" else None


async def all_done(handles: Sequence[JobHandle[None]]) -> None:
    await asyncio.gather(*(each.result(SOON) for each in handles))


async def test_of_each_key_no_more_run_at_once_than_may(
    postgres_url: str, redis: RedisSettings | None
) -> None:
    async with opened(postgres_url, redis) as (milepost, stack):
        # One key is far behind the other in the line.
        waiting = [Visit("acme", 5)] * 4 + [Visit("ajax", 5)] * 4
        handles = await milepost.submit_many(visit, waiting)
        for _ in range(4):
            await stack.enter_async_context(milepost.worker())
        await all_done(handles)
        found = await runs(milepost, "visit")
    for shop in ("acme", "ajax"):
        own = [run for run in found if shop in run.args]
        assert most_at_once(own) == 2
        took = max(run.ended for run in own) - min(run.began for run in own)
        used = sum((run.ended - run.began).total_seconds() for run in own)
        assert used >= 0.95 * 2 * took.total_seconds()


async def test_in_any_stretch_of_time_no_more_begin_than_may(
    postgres_url: str, redis: RedisSettings | None
) -> None:
    async with opened(postgres_url, redis) as (milepost, stack):
        for _ in range(4):
            await stack.enter_async_context(milepost.worker())
        await all_done(await milepost.submit_many(ask, list(range(40))))
        found = await runs(milepost, "ask")
    assert most_within(found, PER) <= 20
    took = (found[-1].began - found[0].began).total_seconds()
    # 20 at once, and 20 more after the period. Long, so that a busy machine is no reason to fail.
    assert took <= PER.total_seconds() / 0.95


async def test_a_limit_of_a_queue_that_is_set_at_run_time_holds(
    postgres_url: str, redis: RedisSettings | None
) -> None:
    async with opened(postgres_url, redis) as (milepost, stack):
        await milepost.database.run(set_limits, "default", QueueLimits(concurrency=3))
        for _ in range(4):
            await stack.enter_async_context(milepost.worker())
        await all_done(await milepost.submit_many(plain, [0.2] * 15))
        assert most_at_once(await runs(milepost, "plain")) == 3
        await milepost.database.run(set_limits, "default", QueueLimits())
        await all_done(await milepost.submit_many(plain, [0.5] * 12))
        assert most_at_once((await runs(milepost, "plain"))[15:]) > 3


def ahead_of(found: Sequence[Run], owner: str, nth: int) -> int:
    """How many began before the nth of an owner; those taken by one claim began at one moment."""
    mine = [run for run in found if run.owner == owner][nth - 1]
    return sum(run.began < mine.began for run in found)


async def test_small_owners_do_not_wait_for_the_big_one(
    postgres_url: str, redis: RedisSettings | None
) -> None:
    async with opened(postgres_url, redis) as (milepost, stack):
        for owner, count in (("big", 1000), ("middle", 100), ("small", 10)):
            handles = await milepost.submit_many(take_turns, list(range(count)), owner=owner)
        big: JobHandle[None] = milepost.handle(1000, take_turns)
        for _ in range(4):
            await stack.enter_async_context(milepost.worker())
        await all_done([*handles, big])
        found = await runs(milepost, "take-turns")
    # In the first thirty turns each had ten, and in the next two hundred two had a hundred.
    assert ahead_of(found, "small", 10) < 30
    assert ahead_of(found, "middle", 10) < 30
    assert ahead_of(found, "middle", 95) < 210


async def test_what_a_limit_holds_back_holds_up_nobody_behind_it(
    postgres_url: str, redis: RedisSettings | None
) -> None:
    async with opened(postgres_url, redis) as (milepost, stack):
        await milepost.submit_many(visit, [Visit("acme", 60)] * 10_000)
        behind = await milepost.submit_many(visit, [Visit("ajax")] * 3)
        behind += await milepost.submit_many(plain, [0.0] * 3)
        await stack.enter_async_context(milepost.worker())
        await all_done(behind)
        assert await milepost.database.query(count_running) == 2
