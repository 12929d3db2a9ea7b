"""How callers wait for jobs: together, and only for what has changed."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import event

from milepost import JobNotFound, JobState, SyncJobContext, job
from milepost.errors import StoreUnavailable
from milepost.signals import Signal, Topic
from tests.worker.apps import App, OpenApp
from tests.worker.waiting import SOON, eventually

MANY = 40


@job("work")
def work(ctx: SyncJobContext[None], args: int) -> int:
    return args


@contextlib.contextmanager
def counted(app: App) -> Iterator[list[str]]:
    """The statements that the application's own connections run meanwhile."""
    statements: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    event.listen(app.database.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(app.database.engine, "before_cursor_execute", note)


async def test_what_happens_to_one_job_costs_those_who_wait_for_others_nothing(
    open_app: OpenApp,
) -> None:
    app = await open_app(work)
    handles = await app.submit_many(work, list(range(MANY)))
    seen: list[int] = []

    async def wait(index: int) -> JobState:
        async for view in handles[index].watch(at_least_every=SOON):
            seen.append(index)
            state = view.state
        return state

    waiting = [asyncio.create_task(wait(index)) for index in range(MANY)]
    await eventually(lambda: len(seen) == MANY)
    with counted(app) as statements:
        for _ in range(MANY):
            with app.database.begin() as conn:
                app.signals.announce(conn, Signal(Topic.AVAILABLE, "default"))
        await handles[0].cancel()
        assert await waiting[0] is JobState.CANCELLED
    reads = [each for each in statements if each.startswith("SELECT") and "FROM milepost" in each]
    # A look at what may have changed, and another at what has; SQLite may tell twice.
    assert len(reads) <= 6
    assert sorted(seen) == sorted([*range(MANY), 0])
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


async def test_a_signal_that_says_nothing_costs_all_who_wait_one_look(open_app: OpenApp) -> None:
    app = await open_app(work)
    handles = await app.submit_many(work, list(range(MANY)))
    waiting = [asyncio.create_task(handle.wait()) for handle in handles]
    await eventually(lambda: app._lookout._marks.keys() == {each.job_id for each in handles})
    with counted(app) as statements:
        app._lookout._hear(Signal(Topic.ANYTHING))
        await eventually(lambda: statements)
        await handles[0].cancel()
        await waiting[0]
    assert len(statements) < MANY
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


async def test_a_job_that_is_not_there_is_not_waited_for(open_app: OpenApp) -> None:
    app = await open_app(work)
    with pytest.raises(JobNotFound):
        await app.handle(123456).wait(SOON)


async def test_loops_of_several_threads_wait_for_one_job(open_app: OpenApp) -> None:
    app = await open_app(work)
    handle = await app.submit(work, 7)
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(asyncio.run(handle.result(SOON))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    async with app.worker():
        assert await handle.result(SOON) == 7
        await eventually(lambda: results == [7, 7, 7])
    for thread in threads:
        thread.join()


async def test_who_waits_when_the_application_closes_is_told(open_app: OpenApp) -> None:
    app = await open_app(work)
    handle = await app.submit(work, 7)
    waiting = asyncio.create_task(handle.wait())
    await eventually(lambda: app._lookout._marks)
    await app.aclose()
    with pytest.raises(StoreUnavailable, match="closed"):
        await waiting
    with pytest.raises(StoreUnavailable, match="closed"):
        await handle.wait(SOON)
