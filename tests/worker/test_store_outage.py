"""A database that goes away and comes back."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy.engine import make_url

from milepost import Backoff, Database, JobContext, SyncJobContext, job, open_database
from milepost.jobs.events import AttemptFinished, AttemptStarted, TickFailed
from tests.worker.apps import App
from tests.worker.rows import create_rows, insert_row, read_rows
from tests.worker.waiting import SOON, eventually

AT_ONCE = Backoff(first=timedelta(seconds=0.05), jitter=0)
ROWS = 300


@job("count-in-coroutine", backoff=AT_ONCE, max_attempts=50)
async def count_in_coroutine(ctx: JobContext[int], args: int) -> int:
    while ctx.checkpoint < args:
        await ctx.save(ctx.checkpoint + 1, insert_row, ctx.checkpoint)
        await asyncio.sleep(0.002)
    return ctx.checkpoint


@job("count-in-thread", backoff=AT_ONCE, max_attempts=50)
def count_in_thread(ctx: SyncJobContext[int], args: int) -> int:
    while ctx.checkpoint < args:
        ctx.save(ctx.checkpoint + 1, insert_row, ctx.checkpoint)
    return ctx.checkpoint


@job("waits")
async def waits(ctx: JobContext[None], args: float) -> str:
    await asyncio.sleep(args)
    return "slept"


@pytest.fixture
def database(postgres_store_url: str) -> Iterator[Database]:
    opened = open_database(postgres_store_url)
    create_rows(opened)
    yield opened
    opened.close()


class Outage:
    """Takes one database of the server away, and gives it back."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self._name = parsed.database or ""
        self._server = parsed.set(database="postgres").render_as_string(hide_password=False)

    def end_connections(self) -> None:
        self._execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", self._name
        )

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        self._execute(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS false")
        try:
            self.end_connections()
            yield
        finally:
            self._execute(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS true")

    def _execute(self, statement: str, *values: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as conn:
            conn.execute(statement.encode(), values or None)


@pytest.mark.parametrize(
    "definition", [count_in_coroutine, count_in_thread], ids=["coroutine", "thread"]
)
async def test_promise_1_connections_that_break_again_and_again_lose_nothing(
    postgres_store_url: str, database: Database, definition
) -> None:
    outage = Outage(postgres_store_url)
    async with App([definition], postgres_store_url, concurrency=4) as app, app.worker():
        handle = await app.submit(definition, ROWS)
        for done in (20, 60, 120, 200):
            await eventually(lambda done=done: counted(database) >= done)
            await asyncio.to_thread(outage.end_connections)
        assert await handle.result(SOON) == ROWS
    assert read_rows(database) == list(range(ROWS))


def counted(database: Database) -> int:
    return len(read_rows(database))


@pytest.mark.parametrize(
    "definition", [count_in_coroutine, count_in_thread], ids=["coroutine", "thread"]
)
async def test_promise_1_a_database_that_is_away_for_longer_than_a_lease_loses_nothing(
    postgres_store_url: str, database: Database, definition
) -> None:
    outage = Outage(postgres_store_url)
    lease_for = timedelta(seconds=0.5)
    async with App([definition], postgres_store_url, lease_for=lease_for) as app, app.worker():
        handle = await app.submit(definition, ROWS)
        await eventually(lambda: counted(database) >= 20)
        with outage.away():
            # Each failed renewal is a third of a lease and a second chance apart.
            await eventually(lambda: failures(app, "renew") >= 4)
        await eventually(lambda: app.happened(AttemptFinished))
        assert await handle.result(SOON) == ROWS
        assert all(each.outcome != "cancelled" for each in await handle.attempts())
    assert read_rows(database) == list(range(ROWS))


def failures(app: App, role: str) -> int:
    return len([event for event in app.happened(TickFailed) if event.role == role])


async def test_promise_1_a_result_is_kept_until_the_database_is_back(
    postgres_store_url: str,
) -> None:
    outage = Outage(postgres_store_url)
    lease_for = timedelta(seconds=6)
    async with App([waits], postgres_store_url, lease_for=lease_for) as app, app.worker():
        handle = await app.submit(waits, 0.3)
        await eventually(lambda: app.happened(AttemptStarted))
        with outage.away():
            await eventually(lambda: failures(app, "settle") >= 1)
        await eventually(lambda: app.happened(AttemptFinished))
        assert await handle.result(SOON) == "slept"
        assert (await handle.view()).attempt == 1


async def test_a_worker_stops_although_the_database_is_away_and_the_job_is_run_again(
    postgres_store_url: str,
) -> None:
    outage = Outage(postgres_store_url)
    async with App([waits], postgres_store_url) as app:
        worker = app.worker()
        await worker.start()
        handle = await app.submit(waits, 0.2)
        await eventually(lambda: app.happened(AttemptStarted))
        with outage.away():
            await asyncio.wait_for(worker.stop(), SOON.total_seconds())
        async with app.worker():
            assert await handle.result(SOON) == "slept"
