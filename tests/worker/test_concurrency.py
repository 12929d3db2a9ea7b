"""What one worker runs at once: never more of a kind or of a queue than its limit, and no less."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from milepost import JobContext, JobDefinition, JobState, SyncJobContext, job
from milepost.jobs.events import AttemptFinished, AttemptStarted, JobRescued
from tests.worker.apps import OpenApp
from tests.worker.overlap import Overlap
from tests.worker.waiting import SOON, eventually, wait_until

# The poll would hide that a queue is not asked again when there is room.
NO_POLL = timedelta(minutes=5)


def coroutine(overlap: Overlap) -> JobDefinition[Any, Any, Any]:
    @job("limited", concurrency=2)
    async def limited(ctx: JobContext[None], args: int) -> int:
        with overlap.inside("limited"):
            await asyncio.sleep(0.05)
        return args

    return limited


def function(overlap: Overlap) -> JobDefinition[Any, Any, Any]:
    @job("limited", concurrency=2)
    def limited(ctx: SyncJobContext[None], args: int) -> int:
        overlap.stay("limited")
        return args

    return limited


@pytest.mark.parametrize("define", [coroutine, function])
async def test_a_kind_runs_as_often_at_once_as_it_says(
    open_app: OpenApp, define: Callable[[Overlap], JobDefinition[Any, Any, Any]]
) -> None:
    overlap = Overlap()
    limited = define(overlap)
    app = await open_app(limited, concurrency=10, poll_every=NO_POLL)
    handles = await app.submit_many(limited, range(12))
    async with app.worker():
        assert [await handle.result(SOON) for handle in handles] == list(range(12))
    assert overlap.most == {"limited": 2}
    # None was claimed in vain.
    assert len(app.happened(AttemptFinished)) == 12


async def test_a_queue_runs_as_many_jobs_at_once_as_is_set(open_app: OpenApp) -> None:
    overlap = Overlap()

    @job("first", queue="narrow")
    async def first(ctx: JobContext[None], args: int) -> None:
        with overlap.inside("narrow"):
            await asyncio.sleep(0.05)

    @job("second", queue="narrow")
    def second(ctx: SyncJobContext[None], args: int) -> None:
        overlap.stay("narrow")

    app = await open_app(
        first, second, concurrency=10, poll_every=NO_POLL, queue_concurrency=(("narrow", 2),)
    )
    handles = [
        await app.submit(definition, number)
        for number in range(6)
        for definition in (first, second)
    ]
    async with app.worker():
        for handle in handles:
            await handle.result(SOON)
    assert overlap.most == {"narrow": 2}


async def test_what_has_no_room_holds_up_no_other_kind_and_no_other_queue(
    open_app: OpenApp,
) -> None:
    released = threading.Event()

    @job("long", concurrency=1)
    def long(ctx: SyncJobContext[None], args: int) -> int:
        wait_until(released.is_set)
        return args

    @job("beside")
    async def beside(ctx: JobContext[None], args: int) -> int:
        return args

    @job("apart", queue="other")
    async def apart(ctx: JobContext[None], args: int) -> int:
        return args

    app = await open_app(long, beside, apart, concurrency=5, poll_every=NO_POLL)
    # Before all others, and more than there are slots.
    held = await app.submit_many(long, range(8))
    free = [
        *await app.submit_many(beside, range(8), priority=1),
        *await app.submit_many(apart, range(8)),
    ]
    async with app.worker():
        try:
            assert [await handle.result(SOON) for handle in free] == [*range(8), *range(8)]
            states = [(await handle.view()).state for handle in held]
            assert states == [JobState.RUNNING, *[JobState.AVAILABLE] * 7]
        finally:
            released.set()
        assert [await handle.result(SOON) for handle in held] == list(range(8))


async def test_a_kind_in_a_queue_that_is_not_its_own_keeps_its_limit_at_no_cost(
    open_app: OpenApp,
) -> None:
    overlap = Overlap()
    limited = coroutine(overlap)
    app = await open_app(limited, concurrency=10, poll_every=NO_POLL, queues=("elsewhere",))
    handles = await app.submit_many(limited, range(12), queue="elsewhere")
    async with app.worker():
        for handle in handles:
            await handle.result(SOON)
    assert overlap.most == {"limited": 2}
    # Given back at once, and not when their leases had run out.
    assert not app.happened(JobRescued)
    views = [await handle.view() for handle in handles]
    assert {view.failures for view in views} == {0}
    # The first claim brought ten of them; from then on it is known where they come from.
    assert [view.attempt for view in views] == [1] * 2 + [2] * 8 + [1] * 2


async def test_a_kind_that_was_never_seen_in_a_full_queue_is_found_there(
    open_app: OpenApp,
) -> None:
    released = threading.Event()

    @job("long", concurrency=1)
    def long(ctx: SyncJobContext[None], args: int) -> None:
        wait_until(released.is_set)

    @job("apart", queue="other")
    async def apart(ctx: JobContext[None], args: int) -> int:
        return args

    app = await open_app(long, apart, concurrency=5, poll_every=timedelta(seconds=0.1))
    await app.submit_many(long, range(3))
    async with app.worker():
        try:
            await eventually(lambda: app.happened(AttemptStarted))
            strays = await app.submit_many(apart, range(20), queue="default")
            assert [await handle.result(SOON) for handle in strays] == list(range(20))
        finally:
            released.set()
