"""Promise 5: a cancel is never lost, and says what became of it."""

import asyncio
import threading
import time
from datetime import timedelta

import pytest

from milepost import (
    Cancellation,
    Database,
    JobContext,
    JobHandle,
    JobNotFound,
    JobState,
    JobWasCancelled,
    LeaseLost,
    Snooze,
    SyncJobContext,
    job,
)
from milepost.jobs.events import AttemptLeftBehind, AttemptStarted, CancelReachedWorker
from tests.worker.apps import App, OpenApp
from tests.worker.rows import insert_row, read_rows
from tests.worker.waiting import SOON, eventually, wait_until


@job("answers")
async def answers(ctx: JobContext[None], args: int) -> int:
    return args


@job("sleeps")
async def sleeps(ctx: JobContext[None], args: int) -> None:
    await asyncio.sleep(60)


@job("saves-in-coroutine")
async def saves_in_coroutine(ctx: JobContext[int], args: int) -> None:
    while True:
        await ctx.save(ctx.checkpoint + 1, insert_row, ctx.checkpoint)


@job("saves-in-thread")
def saves_in_thread(ctx: SyncJobContext[int], args: int) -> None:
    while True:
        ctx.save(ctx.checkpoint + 1, insert_row, ctx.checkpoint)
        time.sleep(0.001)  # Let others take their turn with the file.


async def has_started(app: App, handle: JobHandle[object]) -> None:
    await eventually(
        lambda: handle.job_id in [e.lease.job_id for e in app.happened(AttemptStarted)]
    )


async def test_promise_5_an_available_job_never_starts(open_app: OpenApp) -> None:
    app = await open_app(answers)
    handle = await app.submit(answers, 1)
    assert await handle.cancel("not needed") == Cancellation(
        handle.job_id, JobState.CANCELLED, finished_first=False
    )
    async with app.worker():
        await (await app.submit(answers, 2)).result(SOON)
    with pytest.raises(JobWasCancelled, match="was cancelled: not needed"):
        await handle.result(SOON)
    assert [event.lease.job_id for event in app.happened(AttemptStarted)] != [handle.job_id]
    assert (await handle.view()).attempt == 0


async def test_promise_5_a_scheduled_and_a_snoozed_job_never_start_again(open_app: OpenApp) -> None:
    @job("naps")
    async def naps(ctx: JobContext[None], args: int) -> None:
        raise Snooze(timedelta(hours=1))

    app = await open_app(naps, answers)
    scheduled = await app.submit(answers, 1, delay=timedelta(hours=1))
    assert (await scheduled.cancel()).cancelled
    async with app.worker():
        snoozed = await app.submit(naps, 1)
        await eventually(lambda: is_in(snoozed, JobState.SCHEDULED))
        assert (await snoozed.cancel()).cancelled


async def is_in(handle: JobHandle[None], state: JobState) -> bool:
    view = await handle.view()
    return view.state is state and view.attempt == 1


async def test_promise_5_a_finished_job_keeps_its_end_and_the_caller_is_told(
    open_app: OpenApp,
) -> None:
    app = await open_app(answers)
    async with app.worker():
        handle = await app.submit(answers, 7)
        await handle.result(SOON)
        told = await handle.cancel("too late")
        assert await handle.result(SOON) == 7
    assert told == Cancellation(handle.job_id, JobState.COMPLETED, finished_first=True)
    assert not told.cancelled
    assert str(told) == f"job {handle.job_id} had finished first: it is completed"
    assert (await handle.view()).cancel_requested_at is None


async def test_promise_5_a_coroutine_that_waits_is_cancelled_in_its_wait(open_app: OpenApp) -> None:
    app = await open_app(sleeps)
    async with app.worker():
        handle = await app.submit(sleeps, 0)
        await has_started(app, handle)
        told = await handle.cancel("enough", wait=SOON)
    assert told == Cancellation(handle.job_id, JobState.CANCELLED, finished_first=False)
    assert str(told) == f"job {handle.job_id} is cancelled"
    view = await handle.view()
    assert (view.cancel_reason, view.failures) == ("enough", 0)
    assert [(a.outcome, a.error) for a in await handle.attempts()] == [("cancelled", None)]
    assert [event.kind for event in app.happened(CancelReachedWorker)] == ["sleeps"]


@pytest.mark.parametrize(
    "definition", [saves_in_coroutine, saves_in_thread], ids=["coroutine", "thread"]
)
async def test_promise_5_a_job_that_saves_is_stopped_at_a_save_that_stands(
    open_app: OpenApp, database: Database, definition
) -> None:
    # A grace that never ends: it is the save that stops it, not force.
    app = await open_app(definition, cancel_grace=SOON * 2)
    async with app.worker():
        handle = await app.submit(definition, 0)
        await eventually(lambda: read_rows(database))
        told = await handle.cancel(wait=SOON)
    assert told.cancelled
    written = read_rows(database)
    assert written == list(range(len(written)))
    assert (await handle.view()).checkpoint == str(len(written))


async def test_promise_5_a_save_sees_the_request_that_no_signal_told_of(
    open_app: OpenApp, database: Database
) -> None:
    asked = threading.Event()
    began = threading.Event()

    @job("saves-once")
    def saves_once(ctx: SyncJobContext[int], args: int) -> None:
        began.set()
        wait_until(asked.is_set)
        ctx.save(1, insert_row, 1)
        insert_outside(database)

    app = await open_app(saves_once, lease_for=SOON * 3, poll_every=SOON)
    async with app.worker():
        handle = await app.submit(saves_once, 0)
        await eventually(began.is_set)
        with database.begin() as conn:
            from milepost.store import jobs

            jobs.cancel(conn, database.clock, handle.job_id, "quietly")
        asked.set()
        view = await handle.wait(SOON)
    assert (view.state, view.cancel_reason) == (JobState.CANCELLED, "quietly")
    assert read_rows(database) == [1]


def insert_outside(database: Database) -> None:
    with database.begin() as conn:
        insert_row(conn, -1)


async def test_promise_5_all_callers_are_told_and_the_first_reason_is_kept(
    open_app: OpenApp,
) -> None:
    app = await open_app(sleeps)
    async with app.worker():
        handle = await app.submit(sleeps, 0)
        await has_started(app, handle)
        first = await handle.cancel("first", wait=timedelta(0))
        told = await asyncio.gather(
            handle.cancel("second", wait=SOON), app.again(handle).cancel(wait=SOON)
        )
    assert str(first) == f"job {handle.job_id} has been told to stop and still runs"
    assert [each.cancelled for each in told] == [True, True]
    assert (await handle.cancel("third")).cancelled
    assert (await handle.view()).cancel_reason == "first"


async def test_promise_5_a_job_that_finishes_although_told_to_stop_has_finished_first(
    open_app: OpenApp,
) -> None:
    @job("finishes")
    def finishes(ctx: SyncJobContext[None], args: int) -> str:
        wait_until(lambda: ctx.cancel.requested)
        return "finished"

    app = await open_app(finishes)
    async with app.worker():
        handle = await app.submit(finishes, 0)
        await has_started(app, handle)
        told = await handle.cancel(wait=SOON)
        assert await handle.result(SOON) == "finished"
    assert told == Cancellation(handle.job_id, JobState.COMPLETED, finished_first=True)


async def test_promise_5_a_cancelled_job_that_fails_is_not_run_again(open_app: OpenApp) -> None:
    @job("breaks-when-told")
    def breaks_when_told(ctx: SyncJobContext[None], args: int) -> None:
        wait_until(lambda: ctx.cancel.requested)
        raise OSError("broken")

    app = await open_app(breaks_when_told)
    async with app.worker():
        handle = await app.submit(breaks_when_told, 0)
        await has_started(app, handle)
        assert (await handle.cancel(wait=SOON)).cancelled
        assert (await handle.view()).attempt == 1


@pytest.mark.parametrize("elsewhere", [False, True], ids=["in the store", "beside the data"])
async def test_promise_2_a_thread_that_never_looks_is_left_behind_and_writes_nothing_more(
    open_app: OpenApp, database: Database, other_database: Database, elsewhere: bool
) -> None:
    saved, released = threading.Event(), threading.Event()
    raised: list[BaseException] = []
    data = other_database if elsewhere else database

    @job("never-looks")
    def never_looks(ctx: SyncJobContext[int], args: int) -> None:
        ctx.keep_checkpoint_in(data)
        ctx.save(1, insert_row, 1)
        saved.set()
        wait_until(released.is_set)
        try:
            ctx.save(2, insert_row, 2)
        except BaseException as error:
            raised.append(error)
            raise

    app = await open_app(never_looks)
    async with app.worker():
        handle = await app.submit(never_looks, 0)
        await eventually(saved.is_set)
        try:
            assert (await handle.cancel(wait=SOON)).cancelled
        finally:
            released.set()
        await eventually(lambda: raised)
    [left] = app.happened(AttemptLeftBehind)
    assert __file__.rsplit("/", 1)[-1] in (left.where or "")
    assert [type(error) for error in raised] == [LeaseLost]
    assert read_rows(data) == [1]


async def test_promise_5_a_coroutine_that_swallows_its_cancel_is_left_behind(
    open_app: OpenApp,
) -> None:
    ended = threading.Event()

    @job("swallows")
    async def swallows(ctx: JobContext[None], args: int) -> None:
        while not ended.is_set():
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue

    app = await open_app(swallows, answers, concurrency=1)
    async with app.worker():
        handle = await app.submit(swallows, 0)
        await has_started(app, handle)
        try:
            assert (await handle.cancel(wait=SOON)).cancelled
            # Its place is free again.
            assert await (await app.submit(answers, 3)).result(SOON) == 3
        finally:
            ended.set()
    assert len(app.happened(AttemptLeftBehind)) == 1


async def test_cancelling_a_job_that_is_not_there_says_so(open_app: OpenApp) -> None:
    app = await open_app(answers)
    with pytest.raises(JobNotFound, match="no job 999"):
        await app.handle(999).cancel()
