"""How a worker stops: nothing is lost, and nothing is charged to a job."""

import asyncio
import threading
import time
from datetime import timedelta

import pytest

from milepost import Database, JobContext, JobState, LeaseLost, SyncJobContext, job
from milepost.jobs.events import (
    AttemptLeftBehind,
    AttemptStarted,
    WorkerStarted,
    WorkerStopped,
    WorkerStopping,
)
from milepost.store import workers
from milepost.worker import stopping
from tests.worker.apps import OpenApp
from tests.worker.rows import insert_row, read_rows, read_writers
from tests.worker.waiting import SOON, eventually, wait_until

ENOUGH = 30


@job("count-in-coroutine")
async def count_in_coroutine(ctx: JobContext[int], args: bool) -> int:
    while ctx.checkpoint < ENOUGH:
        # The first attempt counts on until it is told.
        number = min(ctx.checkpoint, 9) if ctx.attempt == 1 else ctx.checkpoint
        if number < ctx.checkpoint or (ctx.attempt == 1 and number == 9):
            await asyncio.sleep(0.01)
            if ctx.stopping:
                await ctx.save(ctx.checkpoint)
            continue
        await ctx.save(number + 1, insert_row, number, ctx.attempt)
    return ctx.attempt


@job("count-in-thread")
def count_in_thread(ctx: SyncJobContext[int], args: bool) -> int:
    while ctx.checkpoint < ENOUGH:
        if ctx.attempt == 1 and ctx.checkpoint == 9:
            wait_until(lambda: ctx.stopping)
        ctx.save(ctx.checkpoint + 1, insert_row, ctx.checkpoint, ctx.attempt)
    return ctx.attempt


@pytest.mark.parametrize(
    "definition", [count_in_coroutine, count_in_thread], ids=["coroutine", "thread"]
)
async def test_a_stopped_job_saves_goes_back_at_no_cost_and_is_resumed(
    open_app: OpenApp, database: Database, definition
) -> None:
    app = await open_app(definition, stop_grace=SOON)
    async with app.worker():
        handle = await app.submit(definition, True)
        await eventually(lambda: len(read_rows(database)) >= 9)
    stopped = await handle.view()
    assert (stopped.state, stopped.failures, stopped.attempt) == (JobState.AVAILABLE, 0, 1)
    assert stopped.checkpoint == str(len(read_rows(database)))

    async with app.worker():
        assert await handle.result(SOON) == 2
        assert [each.outcome for each in await handle.attempts()] == ["interrupted", "completed"]
    assert read_rows(database) == list(range(ENOUGH))
    assert set(read_writers(database)) == {1, 2}
    assert not app.happened(AttemptLeftBehind)


async def test_a_coroutine_that_does_not_save_in_time_is_cancelled_where_it_waits(
    open_app: OpenApp,
) -> None:
    cleaned_up = threading.Event()

    @job("sleeps")
    async def sleeps(ctx: JobContext[int], args: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned_up.set()

    app = await open_app(sleeps)
    async with app.worker():
        handle = await app.submit(sleeps, 0)
        await eventually(lambda: app.happened(AttemptStarted))
    view = await handle.view()
    assert (view.state, view.failures) == (JobState.AVAILABLE, 0)
    assert cleaned_up.is_set()
    assert not app.happened(AttemptLeftBehind)


async def test_a_stopping_worker_takes_no_more_jobs(open_app: OpenApp) -> None:
    @job("waits")
    def waits(ctx: SyncJobContext[None], args: int) -> None:
        wait_until(lambda: ctx.stopping)
        ctx.cancel.raise_if_stopped()

    app = await open_app(waits, concurrency=1)
    handles = await app.submit_many(waits, [0, 1, 2])
    async with app.worker():
        await eventually(lambda: app.happened(AttemptStarted))
    assert len(app.happened(AttemptStarted)) == 1
    for handle in handles:
        assert (await handle.view()).state is JobState.AVAILABLE


async def test_stop_says_what_it_does_and_the_store_knows_that_the_worker_ended(
    open_app: OpenApp,
) -> None:
    app = await open_app(count_in_thread)
    async with app.worker() as worker:
        pass
    assert [type(event) for event in app.events] == [WorkerStarted, WorkerStopping, WorkerStopped]
    record = await app.database.query(workers.find, worker.id)
    assert record is not None
    assert record.stopped_at is not None


async def test_a_worker_that_has_stopped_may_be_stopped_again(open_app: OpenApp) -> None:
    app = await open_app(count_in_thread)
    async with app.worker() as worker:
        await worker.stop()
    assert [type(event) for event in app.events] == [WorkerStarted, WorkerStopping, WorkerStopped]


async def test_a_worker_that_never_started_may_be_stopped(open_app: OpenApp) -> None:
    app = await open_app()
    await app.worker().stop()


@pytest.mark.parametrize("hurry_after", ["telling", "forcing"])
async def test_a_second_stop_waits_for_nobody(
    open_app: OpenApp, hurry_after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    ended = threading.Event()
    forced = threading.Event()

    @job("ignores")
    async def ignores(ctx: JobContext[None], args: int) -> None:
        while not released.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                forced.set()
        ended.set()

    if hurry_after == "forcing":
        # Force comes early, so that much of the grace is left that nobody may wait for.
        monkeypatch.setattr(stopping, "FORCE_SHARE", 0.99)
    app = await open_app(ignores, stop_grace=timedelta(seconds=60), concurrency=1)
    worker = app.worker()
    await worker.start()
    handle = await app.submit(ignores, 0)
    await eventually(lambda: app.happened(AttemptStarted))
    first = asyncio.create_task(worker.stop())
    if hurry_after == "telling":
        await eventually(lambda: app.happened(WorkerStopping))
    else:
        await eventually(forced.is_set)
    began = time.monotonic()
    try:
        await asyncio.wait_for(worker.stop(), SOON.total_seconds())
        took = time.monotonic() - began
        await first
        view = await handle.view()
    finally:
        released.set()
        await eventually(ended.is_set)
    assert took < 2.2
    assert (view.state, view.failures) == (JobState.AVAILABLE, 0)
    assert [event.forced for event in app.happened(WorkerStopping)] == [False, True]


async def test_promise_2_a_thread_that_never_looks_is_left_behind_and_its_save_is_refused(
    open_app: OpenApp, database: Database
) -> None:
    released = threading.Event()
    raised: list[BaseException] = []

    @job("never-looks")
    def never_looks(ctx: SyncJobContext[int], args: int) -> int:
        if ctx.attempt > 1:
            return ctx.checkpoint
        ctx.save(1, insert_row, 1)
        wait_until(released.is_set)
        try:
            ctx.save(2, insert_row, 2)
        except BaseException as error:
            raised.append(error)
            raise
        return -1

    # A lease that outlasts the stop also on a machine that is busy.
    app = await open_app(never_looks, lease_for=timedelta(seconds=5))
    async with app.worker():
        handle = await app.submit(never_looks, 0)
        await eventually(lambda: read_rows(database))
    try:
        view = await handle.view()
        assert (view.state, view.failures) == (JobState.AVAILABLE, 0)
        [left] = app.happened(AttemptLeftBehind)
        assert "waiting.py" in (left.where or "") or "test_stopping.py" in (left.where or "")
        async with app.worker():
            assert await handle.result(SOON) == 1
    finally:
        released.set()
        await eventually(lambda: raised)
    assert [type(error) for error in raised] == [LeaseLost]
    assert read_rows(database) == [1]


async def test_a_handler_that_returns_while_the_worker_stops_has_finished(
    open_app: OpenApp,
) -> None:
    @job("finishes")
    def finishes(ctx: SyncJobContext[None], args: int) -> str:
        wait_until(lambda: ctx.stopping)
        return "finished"

    app = await open_app(finishes, stop_grace=SOON)
    async with app.worker():
        handle = await app.submit(finishes, 0)
        await eventually(lambda: app.happened(AttemptStarted))
    assert await handle.result(SOON) == "finished"


async def test_a_cancelled_job_does_not_come_back_when_its_worker_stops(open_app: OpenApp) -> None:
    released = threading.Event()

    @job("ignores")
    def ignores(ctx: SyncJobContext[None], args: int) -> None:
        wait_until(released.is_set)

    app = await open_app(ignores, cancel_grace=SOON)
    try:
        async with app.worker():
            handle = await app.submit(ignores, 0)
            await eventually(lambda: app.happened(AttemptStarted))
            await handle.cancel(wait=timedelta(0))
        assert (await handle.view()).state is JobState.CANCELLED
    finally:
        released.set()
