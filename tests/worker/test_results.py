"""What comes of a job that runs: its result, when it runs, beside what."""

import threading
from dataclasses import dataclass
from datetime import timedelta

import pytest

from milepost import JobContext, JobState, SyncJobContext, job
from milepost.jobs.events import AttemptFinished, AttemptStarted
from tests.worker.apps import OpenApp
from tests.worker.waiting import SOON, eventually, wait_until


@dataclass(frozen=True)
class Parcel:
    weight: int
    to: str


@job("wrap-in-coroutine")
async def wrap_in_coroutine(ctx: JobContext[None], args: Parcel) -> Parcel:
    return Parcel(args.weight + 1, args.to)


@job("wrap-in-thread")
def wrap_in_thread(ctx: SyncJobContext[None], args: Parcel) -> Parcel:
    return Parcel(args.weight + 1, args.to)


@job("note")
async def note(ctx: JobContext[None], args: str) -> None:
    pass


def order_of(started: list[AttemptStarted]) -> list[int]:
    return [event.lease.job_id for event in started]


@pytest.mark.parametrize("definition", [wrap_in_coroutine, wrap_in_thread], ids=lambda d: d.kind)
async def test_a_handlers_result_comes_back_in_its_own_type(open_app: OpenApp, definition) -> None:
    app = await open_app(wrap_in_coroutine, wrap_in_thread)
    async with app.worker():
        handle = await app.submit(definition, Parcel(2, "Zoë \u0000"))

        assert await handle.result(SOON) == Parcel(3, "Zoë \u0000")
        view = await handle.view()

    assert (view.state, view.attempt, view.failures) == (JobState.COMPLETED, 1, 0)
    assert view.finished_at is not None
    assert view.lease_expires_at is None
    assert [each.outcome for each in await handle.attempts()] == ["completed"]


async def test_jobs_submitted_before_a_worker_starts_run_when_it_does(open_app: OpenApp) -> None:
    app = await open_app(wrap_in_thread)
    handles = await app.submit_many(wrap_in_thread, [Parcel(n, "x") for n in range(50)])
    async with app.worker():
        assert [(await each.result(SOON)).weight for each in handles] == list(range(1, 51))


async def test_the_most_urgent_run_first_and_then_the_oldest(open_app: OpenApp) -> None:
    app = await open_app(note, concurrency=1)
    handles = [await app.submit(note, "", priority=p) for p in (5, 0, 9, 5, 0)]
    async with app.worker():
        for handle in handles:
            await handle.wait(SOON)
    ids = [handle.job_id for handle in handles]
    assert order_of(app.happened(AttemptStarted)) == [ids[i] for i in (1, 4, 0, 3, 2)]


async def test_a_delayed_job_waits_for_its_time(open_app: OpenApp) -> None:
    app = await open_app(note)
    async with app.worker():
        delay = timedelta(seconds=0.7)
        handle = await app.submit(note, "", delay=delay)
        assert (await handle.view()).state is JobState.SCHEDULED
        await handle.result(SOON)
        view = await handle.view()
    assert view.started_at is not None
    assert view.started_at - view.created_at >= delay
    assert view.started_at - view.run_at < timedelta(seconds=2)


async def test_a_unique_key_gives_the_unfinished_job_back_and_is_free_after_it(
    open_app: OpenApp,
) -> None:
    app = await open_app(note)
    first = await app.submit(note, "a", unique_key="k")
    again = await app.submit(note, "b", unique_key="k")
    assert (first.existed, again.existed, again.job_id) == (False, True, first.job_id)
    async with app.worker():
        await first.result(SOON)
        later = await app.submit(note, "c", unique_key="k")
        assert not later.existed
        assert later.job_id != first.job_id
        await later.result(SOON)


async def test_kinds_that_a_worker_does_not_know_are_left_to_others(open_app: OpenApp) -> None:
    knows_both = await open_app(note, wrap_in_coroutine)
    knows_one = await open_app(note)
    stranger = await knows_both.submit(wrap_in_coroutine, Parcel(1, "x"))
    async with knows_one.worker():
        await (await knows_one.submit(note, "")).result(SOON)
        view = await stranger.view()
        assert (view.state, view.attempt) == (JobState.AVAILABLE, 0)
    async with knows_both.worker():
        assert (await stranger.result(SOON)).weight == 2


async def test_queues_that_a_worker_does_not_serve_are_left_to_others(open_app: OpenApp) -> None:
    app = await open_app(note)
    elsewhere = await app.submit(note, "", queue="elsewhere")
    async with app.worker():
        await (await app.submit(note, "")).result(SOON)
        assert (await elsewhere.view()).state is JobState.AVAILABLE
    async with app.quick_worker(queues=("default", "elsewhere")):
        await elsewhere.result(SOON)


@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_promise_8_no_more_jobs_run_at_once_than_the_worker_may(
    open_app: OpenApp, kind: str
) -> None:
    open_gate = threading.Event()
    running: set[int] = set()
    most = 0

    def begin(job_id: int) -> None:
        nonlocal most
        running.add(job_id)
        most = max(most, len(running))

    @job("hold-in-coroutine")
    async def hold_in_coroutine(ctx: JobContext[None], args: None) -> None:
        begin(ctx.job_id)
        await eventually(open_gate.is_set)
        running.discard(ctx.job_id)

    @job("hold-in-thread")
    def hold_in_thread(ctx: SyncJobContext[None], args: None) -> None:
        begin(ctx.job_id)
        wait_until(open_gate.is_set)
        running.discard(ctx.job_id)

    app = await open_app(hold_in_coroutine, hold_in_thread, note, concurrency=3)
    definition = hold_in_coroutine if kind == "coroutine" else hold_in_thread
    handles = await app.submit_many(definition, [None] * 9)
    async with app.worker():
        await eventually(lambda: len(running) == 3)
        late = await app.submit(note, "", priority=0)
        open_gate.set()
        for handle in [*handles, late]:
            await handle.result(SOON)
    assert most == 3
    assert len(app.happened(AttemptFinished)) == 10


async def test_several_workers_share_jobs_and_each_runs_once(open_app: OpenApp) -> None:
    app = await open_app(note, concurrency=4)
    handles = await app.submit_many(note, [""] * 60)
    async with app.worker(), app.worker(), app.worker():
        for handle in handles:
            await handle.result(SOON)
    assert sorted(order_of(app.happened(AttemptStarted))) == sorted(h.job_id for h in handles)
