"""A database that goes away and comes back."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from milepost import (
    Backoff,
    Database,
    JobContext,
    JobFailed,
    SyncJobContext,
    job,
    open_database,
)
from milepost.errors import StoreUnavailable
from milepost.jobs.events import AttemptFinished, AttemptStarted, TickFailed
from tests.servers import PostgresServer
from tests.worker.apps import App
from tests.worker.rows import create_rows, insert_row, read_rows
from tests.worker.waiting import SOON, eventually, wait_until

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


def break_connection(conn: Connection) -> None:
    conn.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


def break_after_the_commit(conn: Connection) -> None:
    """Lose the server's answer to the COMMIT, and not the COMMIT."""
    driver: Any = conn.connection.driver_connection

    class Deaf(psycopg.Connection):
        def commit(self) -> None:
            super().commit()
            self.close()
            raise psycopg.OperationalError("the answer was lost")

    driver.__class__ = Deaf


@job("loses-a-connection", max_attempts=1)
def loses_a_connection(ctx: SyncJobContext[int], args: None) -> int:
    while ctx.checkpoint < 4:
        number = ctx.checkpoint
        ctx.save(number + 1, lose_at, number, 2 if ctx.attempt == 1 else -1)
    return ctx.attempt


def lose_at(conn: Connection, number: int, last: int) -> None:
    insert_row(conn, number)
    if number == last:
        break_connection(conn)


@job("loses-an-answer", max_attempts=1)
def loses_an_answer(ctx: SyncJobContext[int], args: int) -> int:
    """`args` is how far a save moves the checkpoint."""
    ctx.save(1, insert_row, 1, ctx.attempt)
    if ctx.attempt == 1:
        ctx.save(1 + args, break_after_the_commit)
    return ctx.attempt


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


@pytest.mark.parametrize("elsewhere", [False, True], ids=["in the store", "beside it"])
async def test_promise_3_a_connection_that_breaks_in_a_save_costs_the_job_nothing(
    postgres_store_url: str, postgres: PostgresServer, database: Database, elsewhere: bool
) -> None:
    data = open_database(postgres.create_database()) if elsewhere else database

    @job("keeps-its-place", max_attempts=1)
    def keeps_its_place(ctx: SyncJobContext[int], args: None) -> int:
        ctx.keep_checkpoint_in(data)
        return loses_a_connection.handler(ctx, args)

    if elsewhere:
        create_rows(data)
    async with App([keeps_its_place], postgres_store_url) as app, app.worker():
        handle = await app.submit(keeps_its_place, None)
        assert await handle.result(SOON) == 2
        assert [each.outcome for each in await handle.attempts()] == ["interrupted", "completed"]
    assert read_rows(data) == [0, 1, 2, 3]
    if elsewhere:
        data.close()


@pytest.mark.parametrize(("moved_by", "attempts"), [(1, 1), (0, 2)])
async def test_promise_3_a_save_whose_answer_is_lost_stands_where_its_checkpoint_says_so(
    postgres_store_url: str, database: Database, moved_by: int, attempts: int
) -> None:
    async with App([loses_an_answer], postgres_store_url) as app, app.worker():
        handle = await app.submit(loses_an_answer, moved_by)
        assert await handle.result(SOON) == attempts
        assert (await handle.view()).failures == 0


async def test_who_stands_idle_in_a_transaction_for_too_long_is_told_so(
    postgres_store_url: str,
) -> None:
    @job("dawdles", max_attempts=1)
    def dawdles(ctx: SyncJobContext[int], args: None) -> None:
        def dawdle(conn: Connection) -> None:
            conn.execute(text("SET idle_in_transaction_session_timeout = 50"))
            pid = conn.execute(text("SELECT pg_backend_pid()")).scalar()
            gone = text("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = :pid")

            def ended() -> bool:
                with onlooker.read() as other:
                    return bool(other.execute(gone, {"pid": pid}).scalar())

            wait_until(ended)
            conn.execute(text("SELECT 1"))

        ctx.save(1, dawdle)

    onlooker = open_database(postgres_store_url)
    async with App([dawdles], postgres_store_url) as app, app.worker():
        with pytest.raises(JobFailed, match="idle-in-transaction"):
            await (await app.submit(dawdles, None)).result(SOON)
    onlooker.close()


def counted(database: Database) -> int:
    try:
        return len(read_rows(database))
    except StoreUnavailable:  # its own connection has been ended too, just now
        return 0


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
