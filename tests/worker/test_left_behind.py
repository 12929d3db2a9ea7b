"""Promise 8: handlers that nobody can stop are counted, and there are never many in a worker."""

import asyncio
import threading
from typing import Any

from milepost import JobContext, JobDefinition, JobState, SyncJobContext, job
from milepost.jobs.events import (
    AttemptLeftBehind,
    AttemptStarted,
    PoolUsedUp,
)
from milepost.pools.thread import MOST_LEFT_BEHIND
from milepost.store import workers
from tests.worker.apps import App, OpenApp
from tests.worker.waiting import SOON, eventually


@job("answers")
async def answers(ctx: JobContext[None], args: int) -> int:
    return args


@job("answers-in-thread")
def answers_in_thread(ctx: SyncJobContext[None], args: int) -> int:
    return args


async def test_promise_8_a_worker_full_of_stuck_threads_takes_no_more_until_some_end(
    open_app: OpenApp,
) -> None:
    released = threading.Event()

    @job("stuck")
    def stuck(ctx: SyncJobContext[None], args: int) -> None:
        wait_until_at_last(released)

    app = await open_app(stuck, answers_in_thread, answers, concurrency=MOST_LEFT_BEHIND)
    async with app.worker():
        handles = await app.submit_many(stuck, range(MOST_LEFT_BEHIND))
        try:
            await eventually(lambda: len(app.happened(AttemptStarted)) == MOST_LEFT_BEHIND)
            await asyncio.gather(*(handle.cancel(wait=SOON) for handle in handles[:-1]))
            # One fewer is no reason to stop.
            assert await (await app.submit(answers_in_thread, 1)).result(SOON) == 1
            await handles[-1].cancel(wait=SOON)
            await eventually(lambda: app.happened(PoolUsedUp))
            assert [event.still for event in app.happened(PoolUsedUp)] == [MOST_LEFT_BEHIND]
            left = app.happened(AttemptLeftBehind)
            assert [event.still for event in left] == list(range(1, MOST_LEFT_BEHIND + 1))
            # Its slots are all free, and the record says so …
            await eventually(lambda: counts_as_running(app, 0))
            # … but no thread is.
            seventeenth = await app.submit(stuck, MOST_LEFT_BEHIND)
            waiting = await app.submit(answers_in_thread, 7)
            for number in range(5):
                assert await (await app.submit(answers, number)).result(SOON) == number
            views = [await handle.view() for handle in (seventeenth, waiting)]
            assert [(view.state, view.attempt) for view in views] == [(JobState.AVAILABLE, 0)] * 2
        finally:
            released.set()
        assert await waiting.result(SOON) == 7
        await seventeenth.result(SOON)


def wait_until_at_last(released: threading.Event) -> None:
    released.wait(3 * SOON.total_seconds())


async def counts_as_running(app: App, number: int) -> bool:
    [worker] = await app.database.query(workers.unstopped)
    return worker.running == number


async def test_a_thread_that_is_left_behind_shows_its_whole_stack(open_app: OpenApp) -> None:
    released = threading.Event()

    @job("stuck")
    def stuck(ctx: SyncJobContext[None], args: int) -> None:
        deeper()

    def deeper() -> None:
        wait_until_at_last(released)

    left = await leave_behind(await open_app(stuck), stuck, released)
    assert left.where.startswith(f"{__file__}:")
    assert left.where.endswith("in wait_until_at_last")
    assert functions(left.stack) == ["stuck", "deeper", "wait_until_at_last", "wait", "wait"]


async def test_a_coroutine_that_is_left_behind_shows_what_it_awaits(open_app: OpenApp) -> None:
    released = threading.Event()

    @job("swallows")
    async def swallows(ctx: JobContext[None], args: int) -> None:
        while not released.is_set():
            try:
                await deeper()
            except asyncio.CancelledError:
                continue

    async def deeper() -> None:
        await asyncio.sleep(0.5)

    left = await leave_behind(await open_app(swallows), swallows, released)
    assert left.where.endswith("in deeper")
    assert functions(left.stack) == ["swallows", "deeper", "sleep"]
    assert left.still == 1


async def test_a_coroutine_that_blocks_its_loop_shows_its_stack_there(open_app: OpenApp) -> None:
    released = threading.Event()

    @job("blocks")
    async def blocks(ctx: JobContext[None], args: int) -> None:
        wait_until_at_last(released)

    left = await leave_behind(await open_app(blocks), blocks, released)
    assert left.where.endswith("in wait_until_at_last")
    assert functions(left.stack) == ["blocks", "wait_until_at_last", "wait", "wait"]


async def leave_behind(app: App, definition: JobDefinition, released: threading.Event) -> Any:
    """Cancel a job that does not stop until it is released, and say what was told of it."""
    async with app.worker():
        handle = await app.submit(definition, 0)
        await eventually(lambda: app.happened(AttemptStarted))
        try:
            assert (await handle.cancel(wait=SOON)).cancelled
            [left] = await eventually(lambda: app.happened(AttemptLeftBehind))
        finally:
            released.set()
    return left


def functions(stack: str) -> list[str]:
    lines = [line for line in stack.splitlines() if line.startswith("  File ")]
    return [line.rpartition(" in ")[2] for line in lines]
