"""Promise 7: a handler that blocks the coroutines' loop hurts nobody but its own kind."""

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from milepost import Database, JobContext, JobState, SyncJobContext, job
from milepost.jobs.events import HandlerBlockedLoop, LeaseWasLost
from tests.worker.apps import OpenApp
from tests.worker.rows import insert_row, read_rows
from tests.worker.waiting import SOON, eventually, wait_until

BLOCKED_AFTER = timedelta(seconds=0.3)


def sleep_through(released: threading.Event) -> None:
    while not released.is_set():
        time.sleep(0.02)


def burn(released: threading.Event) -> None:
    number = 0
    while not released.is_set():
        number += 1


def wait_in_a_library(released: threading.Event) -> None:
    released.wait()


def span(function: Callable[..., object]) -> range:
    """The line numbers of a function."""
    lines, first = inspect.getsourcelines(function)
    return range(first, first + len(lines))


def place_of(where: str) -> tuple[str, int]:
    """Take `file:line in function` apart."""
    file, _, rest = where.rpartition(":")
    return file, int(rest.split()[0])


@job("works-in-thread")
def works_in_thread(ctx: SyncJobContext[None], args: int) -> int:
    return args


@job("holds-a-thread")
def holds_a_thread(ctx: SyncJobContext[None], args: None) -> None:
    wait_until(lambda: ctx.cancel.requested or ctx.stopping)
    ctx.cancel.raise_if_stopped()


@pytest.mark.parametrize("block", [sleep_through, burn, wait_in_a_library])
async def test_promise_7_a_handler_that_blocks_its_loop_is_reported_with_its_file_and_line(
    open_app: OpenApp, block: Callable[[threading.Event], None]
) -> None:
    released = threading.Event()

    @job("blocks")
    async def blocks(ctx: JobContext[None], args: None) -> str:
        block(released)
        return "done"

    app = await open_app(blocks, blocked_after=BLOCKED_AFTER)
    async with app.worker():
        handle = await app.submit(blocks, None)
        try:
            await eventually(lambda: app.happened(HandlerBlockedLoop), what="the report")
        finally:
            released.set()
        assert await handle.result(SOON) == "done"

    [blocked] = app.happened(HandlerBlockedLoop)
    assert blocked.kind == "blocks"
    assert blocked.lease is not None
    assert blocked.lease.job_id == handle.job_id
    assert blocked.blocked_for >= BLOCKED_AFTER
    file, line = place_of(blocked.where)
    # A line of the program's own, not one of threading.py.
    assert Path(file) == Path(__file__)
    assert line in span(block)


@pytest.mark.parametrize("block", [sleep_through, burn])
async def test_promise_7_a_handler_that_blocks_its_loop_keeps_its_lease_and_stops_nothing_else(
    open_app: OpenApp, block: Callable[[threading.Event], None]
) -> None:
    released = threading.Event()

    @job("blocks")
    async def blocks(ctx: JobContext[int], args: None) -> str:
        block(released)
        await ctx.save(1)
        return "done"

    app = await open_app(
        blocks, works_in_thread, holds_a_thread,
        # Longer than a busy machine lets whoever renews it wait.
        blocked_after=BLOCKED_AFTER, lease_for=timedelta(seconds=3),
    )  # fmt: skip
    async with app.worker():
        blocker = await app.submit(blocks, None)
        try:
            await eventually(lambda: app.happened(HandlerBlockedLoop))
            first = await blocker.view()
            # Claimed, run and settled meanwhile.
            assert await (await app.submit(works_in_thread, 7)).result(SOON) == 7
            # Cancelled while it runs, in the last free place …
            holder = await app.submit(holds_a_thread, None)
            await eventually(lambda: is_running(holder))
            waiting = await app.submit(works_in_thread, 8)
            assert (await waiting.cancel()).state is JobState.CANCELLED  # … and while it waits.
            assert (await holder.cancel(wait=SOON)).cancelled
            # Renewed past the first end of its lease.
            await eventually(lambda: outlives(blocker, first.lease_expires_at))
        finally:
            released.set()
        assert await blocker.result(SOON) == "done"
        assert (await blocker.view()).attempt == 1
    assert not app.happened(LeaseWasLost)


async def is_running(handle) -> bool:
    return (await handle.view()).state is JobState.RUNNING


async def outlives(handle, moment) -> bool:
    expires_at = (await handle.view()).lease_expires_at
    return expires_at > moment + timedelta(seconds=1)


async def test_promise_7_a_blocked_job_can_be_cancelled_and_writes_nothing_more(
    open_app: OpenApp, database: Database
) -> None:
    released = threading.Event()
    ended = threading.Event()

    @job("blocks")
    async def blocks(ctx: JobContext[int], args: None) -> None:
        sleep_through(released)
        try:
            await ctx.save(1, insert_row, 1)
        finally:
            ended.set()

    app = await open_app(blocks)
    async with app.worker():
        handle = await app.submit(blocks, None)
        await eventually(lambda: is_running(handle))
        try:
            assert (await handle.cancel("enough", wait=SOON)).cancelled
        finally:
            released.set()
        await eventually(ended.is_set)
    assert (await handle.view()).checkpoint is None
    assert read_rows(database) == []


@pytest.mark.parametrize("block", [sleep_through, burn])
async def test_promise_7_a_worker_stops_although_a_handler_blocks(
    open_app: OpenApp, database: Database, block: Callable[[threading.Event], None]
) -> None:
    released = threading.Event()
    ended = threading.Event()

    @job("blocks")
    async def blocks(ctx: JobContext[int], args: None) -> None:
        block(released)
        try:
            await ctx.save(1, insert_row, 1)
        finally:
            ended.set()

    app = await open_app(blocks)
    worker = app.worker()
    await worker.start()
    handle = await app.submit(blocks, None)
    await eventually(lambda: is_running(handle))
    began = time.monotonic()
    try:
        await asyncio.wait_for(worker.stop(), SOON.total_seconds())
        took = time.monotonic() - began
        view = await handle.view()
    finally:
        released.set()
        await eventually(ended.is_set)
    # The grace of 0.5 s, the last moment of 0.5 s, the loop's end of 1 s.
    assert took < 4
    assert (view.state, view.failures) == (JobState.AVAILABLE, 0)
    assert read_rows(database) == []


async def test_promise_7_a_write_that_hangs_keeps_no_worker_from_stopping(
    postgres_store_url: str,
) -> None:
    from tests.worker.apps import App

    released = threading.Event()
    writing = threading.Event()

    def hang(conn: object) -> None:
        writing.set()
        released.wait(SOON.total_seconds())

    @job("hangs")
    async def hangs(ctx: JobContext[int], args: None) -> None:
        await ctx.save(1, hang)

    async with App([hangs], postgres_store_url) as app:
        worker = app.worker()
        await worker.start()
        handle = await app.submit(hangs, None)
        await eventually(writing.is_set)
        stopping = asyncio.create_task(worker.stop())
        try:
            done, _ = await asyncio.wait([stopping], timeout=5)
            assert done, "stop() waits for a handler's write"
            view = await handle.view()
            assert (view.state, view.failures) == (JobState.AVAILABLE, 0)
        finally:
            released.set()
            await stopping


async def test_promise_7_what_cannot_begin_in_a_blocked_loop_costs_no_failure_and_runs_elsewhere(
    open_app: OpenApp,
) -> None:
    released = threading.Event()

    @job("blocks")
    async def blocks(ctx: JobContext[None], args: None) -> None:
        sleep_through(released)

    @job("is-kept-waiting", time_limit=timedelta(seconds=0.2), max_attempts=1)
    async def is_kept_waiting(ctx: JobContext[None], args: int) -> int:
        return args

    definitions = (blocks, is_kept_waiting, works_in_thread)
    blocked, free = [
        await open_app(*definitions, blocked_after=BLOCKED_AFTER, concurrency=3) for _ in range(2)
    ]
    blocker = await blocked.submit(blocks, None)
    hostages = await blocked.submit_many(is_kept_waiting, [0, 1])  # claimed with the blocker
    async with blocked.worker():
        try:
            await eventually(lambda: blocked.happened(HandlerBlockedLoop))
            await eventually(lambda: are_available(hostages), what="giving back")
            hostages.append(await blocked.submit(is_kept_waiting, 2))
            # Whenever it looks for jobs now, it takes none that could not begin.
            for number in range(3):
                assert await (await blocked.submit(works_in_thread, number)).result(SOON) == number
            assert await are_available(hostages)
            async with free.worker():
                results = [await hostage.result(SOON) for hostage in hostages]
        finally:
            released.set()
        assert results == [0, 1, 2]
        # The loop is free again, and so is what it runs.
        await blocker.result(SOON)
        assert await (await blocked.submit(is_kept_waiting, 3)).result(SOON) == 3
    views = [await hostage.view() for hostage in hostages]
    assert [view.failures for view in views] == [0, 0, 0]


async def are_available(handles) -> bool:
    return all([(await each.view()).state is JobState.AVAILABLE for each in handles])


async def test_the_time_limit_counts_from_the_start_of_the_handler(open_app: OpenApp) -> None:
    released = threading.Event()

    @job("blocks")
    async def blocks(ctx: JobContext[None], args: None) -> None:
        sleep_through(released)

    @job("is-kept-waiting", time_limit=timedelta(seconds=0.2), max_attempts=1)
    async def is_kept_waiting(ctx: JobContext[None], args: int) -> int:
        ctx.cancel.raise_if_stopped()
        return args

    app = await open_app(blocks, is_kept_waiting, blocked_after=SOON, concurrency=3)
    await app.submit(blocks, None)
    hostage = await app.submit(is_kept_waiting, 7)
    async with app.worker():
        try:
            await eventually(lambda: is_running(hostage))
            claimed = await hostage.view()
            # A second and more after the claim, far past the limit.
            await eventually(lambda: outlives(hostage, claimed.lease_expires_at))
        finally:
            released.set()
        assert await hostage.result(SOON) == 7
