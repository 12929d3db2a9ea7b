"""Children are held to the limits of their definition, on each broker."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from milepost import Concurrency, Debounce, JobContext, PayloadInvalid, Throttle, child, job
from milepost.settings import RedisSettings
from milepost.store.tables import jobs
from tests.limits.app import SOON, most_at_once, opened, plain, runs

TRACE = '{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}'
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Split:
    done: bool = False


@job("part", limits=[Concurrency(1, name="erp"), Concurrency(1, key="owner")], turns="owner")
async def part(ctx: JobContext[None], args: int) -> int:
    await asyncio.sleep(0.05)
    return args


@job("whole", limits=[Concurrency(1, name="erp")])
async def whole(ctx: JobContext[Split], args: int) -> int:
    if not ctx.checkpoint.done:
        await ctx.save(Split(done=True), children=[child(part, each) for each in range(args)])
    await ctx.wait_for_children()
    return sum([each.result async for each in ctx.children(part)])


@pytest.mark.parametrize("broker", ["sql", "bullmq"])
async def test_a_parent_holds_no_place_while_it_waits_and_its_children_are_held_to_theirs(
    postgres_url: str, broker: str, redis_settings: RedisSettings
) -> None:
    redis = redis_settings if broker == "bullmq" else None
    async with opened(postgres_url, redis, part, whole) as (milepost, stack):
        handles = [await milepost.submit(whole, 4, owner=owner) for owner in ("ann", "bob")]
        # Whoever waits for a parent with limits is held to its own.
        last = await milepost.submit(whole, 1, after=handles)
        traced = update(jobs).where(jobs.c.id == handles[0].job_id).values(trace=TRACE)
        await milepost.database.run(lambda conn: conn.execute(traced).rowcount)
        for _ in range(2):
            await stack.enter_async_context(milepost.worker())
        assert [await each.result(SOON) for each in (*handles, last)] == [6, 6, 0]
        found = [*await runs(milepost, "part"), *await runs(milepost, "whole")]
        query = select(jobs.c.lane, jobs.c.trace).where(
            jobs.c.kind == "part", jobs.c.owner == "ann"
        )
        children = await milepost.database.query(lambda conn: conn.execute(query).all())
    assert most_at_once(found) == 1
    # The owner of the parent is theirs, also where limits and turns are counted; so is its trace.
    assert set(map(tuple, children)) == {(part.lane("0", "ann"), TRACE)}


@job("index", debounce=Debounce(MINUTE))
async def index(ctx: JobContext[None], args: int) -> None:
    pass


@job("mail", throttle=Throttle(MINUTE))
async def mail(ctx: JobContext[None], args: int) -> None:
    pass


async def test_no_job_of_a_flow_is_debounced_or_throttled(postgres_url: str) -> None:
    for definition in (index, mail):
        with pytest.raises(PayloadInvalid, match=f"{definition.kind} cannot be a child"):
            child(definition, 1)
    wrong: dict[str, Any] = {"throttle": Throttle(MINUTE)}
    with pytest.raises(PayloadInvalid, match="a child takes"):
        child(plain, 1.0, **wrong)
    async with opened(postgres_url, None, index, mail, plain) as (milepost, _):
        first = await milepost.submit(plain, 0.0)
        with pytest.raises(PayloadInvalid, match="waits for others .* cannot be debounced"):
            await milepost.submit(index, 1, after=[first])
        with pytest.raises(PayloadInvalid, match="cannot be throttled"):
            await milepost.submit(plain, 1.0, after=[first], throttle=Throttle(MINUTE))
        # It may be waited for.
        debounced = await milepost.submit(index, 1)
        waits = await milepost.submit(plain, 0.0, after=[debounced])
        assert (await waits.view()).waits
