"""Debounce, throttle, and queues that are full, in the store."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from milepost import Debounce, JobContext, Milepost, Settings, Throttle, job
from milepost.errors import DefinitionInvalid, PayloadInvalid, QueueFull
from milepost.jobs.limits import Concurrency, Rate
from milepost.store import jobs, schema
from tests.limits.app import Visit, plain, visit

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Page:
    site: str
    version: int = 0


@job("index", debounce=Debounce(MINUTE, key=lambda args: args.site))
async def index(ctx: JobContext[None], args: Page) -> None:
    pass


@job("mail", throttle=Throttle(HOUR, key="owner"))
async def mail(ctx: JobContext[None], args: int) -> None:
    pass


@pytest.fixture(params=["sqlite", "postgres"])
async def milepost(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Milepost]:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    settings = Settings(database_url=url, longest_queue=9)
    made = Milepost([index, mail, plain], settings=settings, observers=())
    schema.migrate(made.database)
    async with made:
        yield made


async def begin(milepost: Milepost, job_id: int) -> None:
    claimed = await milepost.database.run(
        jobs.claim_these, milepost.database.clock, [job_id], kinds=["index", "mail"],
        lease_for=HOUR, worker_id="w",
    )  # fmt: skip
    assert len(claimed) == 1


async def test_a_debounced_job_has_the_newest_args_and_waits_anew(milepost: Milepost) -> None:
    first = await milepost.submit(index, Page("a", 1))
    before = await first.view()
    again = await milepost.submit(index, Page("a", 2))
    other = await milepost.submit(index, Page("b", 1))
    after = await first.view()
    assert (again.job_id, again.existed, other.existed) == (first.job_id, True, False)
    assert (after.args, after.state) == ('{"site":"a","version":2}', "scheduled")
    assert after.run_at > before.run_at


async def test_what_is_due_or_has_begun_is_not_put_off(milepost: Milepost) -> None:
    now = timedelta(microseconds=1)
    due = await milepost.submit(index, Page("a", 1), delay=timedelta(0))
    assert (await due.view()).state == "available"
    again = await milepost.submit(index, Page("a", 2), debounce=Debounce(now, lambda x: x.site))
    assert again.job_id == due.job_id
    shown = await due.view()
    assert (shown.state, '"version":2' in shown.args) == ("available", True)
    await begin(milepost, due.job_id)
    # What came after it began is another run.
    fresh = await milepost.submit(index, Page("a", 3))
    assert not fresh.existed
    await fresh.cancel(wait=timedelta(0))
    assert not (await milepost.submit(index, Page("a", 4))).existed
    await fresh.retry()


async def test_of_many_who_submit_at_once_one_is_throttled_through(milepost: Milepost) -> None:
    handles = await asyncio.gather(
        *(milepost.submit(mail, number, owner="ann") for number in range(6))
    )
    assert len({each.job_id for each in handles}) == 1
    assert [each.existed for each in handles].count(False) == 1
    assert not (await milepost.submit(mail, 1, owner="bob")).existed
    # It may have ended long ago.
    await begin(milepost, handles[0].job_id)
    assert (await milepost.submit(mail, 7, owner="ann")).existed
    short = Throttle(timedelta(microseconds=1), key="owner")
    later = await milepost.submit(mail, 8, owner="ann", throttle=short)
    assert not later.existed


async def test_promise_8_a_full_queue_takes_no_more(milepost: Milepost) -> None:
    handles = await milepost.submit_many(plain, [0.0] * 9)
    with pytest.raises(QueueFull) as full:
        await milepost.submit(plain, 0.0)
    told = full.value
    assert (told.queue, told.length, told.limit) == ("default", 9, 9)
    assert told.retry_after == timedelta(seconds=60)
    await milepost.submit(plain, 0.0, queue="other")
    await handles[0].cancel(wait=timedelta(0))

    async def takes_one() -> bool:
        try:
            await milepost.submit(plain, 0.0)
        except QueueFull:
            return False
        return True

    async with asyncio.timeout(10):
        while not await takes_one():
            await asyncio.sleep(0.02)


def test_what_cannot_be_is_refused() -> None:
    handler = visit.handler
    wrong: Any = "shop"
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"limits": [Concurrency(0)]}, "at least 1"),
        ({"limits": [Rate(1, timedelta(0))]}, "1 ms to 31 days"),
        ({"limits": [Concurrency(1, key=wrong)]}, "'owner', a function"),
        ({"limits": [3]}, "Concurrency"),
        ({"turns": "me"}, "'owner', a function"),
        ({"debounce": Debounce(HOUR), "throttle": Throttle(HOUR)}, "not both"),
        ({"throttle": Throttle(timedelta(0))}, "positive"),
    )
    for options, reason in refused:
        with pytest.raises(DefinitionInvalid, match=reason):
            job("x", **options)(handler)


@pytest.mark.parametrize("shop", ["x" * 300, "\x00", "\ud800", "€" * 150])
def test_a_key_may_be_any_text_but_not_a_long_one(shop: str) -> None:
    lane = visit.lane
    if len(shop) > 100:
        with pytest.raises(PayloadInvalid, match="characters"):
            lane(visit.args.dump(Visit(shop)), None)
    else:
        assert visit._steering.lane(Visit(shop), None).isascii()
