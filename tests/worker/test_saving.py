"""Checkpoints and the data that comes with them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from sqlalchemy import Connection, update

from milepost import Backoff, Database, JobContext, JobFailed, LeaseLost, SyncJobContext, job
from milepost.jobs.events import AttemptFinished, LeaseWasLost
from milepost.jobs.leases import JobId
from milepost.pools.frames import thread_frame
from milepost.store.tables import checkpoints, jobs
from tests.worker.apps import App, OpenApp
from tests.worker.rows import insert_row, read_rows
from tests.worker.waiting import SOON, eventually, wait_until

AT_ONCE = Backoff(first=Backoff().first * 0, jitter=0)


@dataclass(frozen=True)
class Count:
    """A checkpoint: how many rows stand."""

    done: int = 0


def insert_and_break(conn: Connection, value: int) -> None:
    insert_row(conn, value)
    raise OSError("the write broke")


@job("count-in-coroutine", backoff=AT_ONCE)
async def count_in_coroutine(ctx: JobContext[Count], args: int) -> int:
    for number in range(ctx.checkpoint.done, args):
        await ctx.save(Count(number + 1), insert_row, number)
        if ctx.attempt == 1 and number == 2:
            await ctx.save(Count(number + 2), insert_and_break, 99)
    return ctx.checkpoint.done


@job("count-in-thread", backoff=AT_ONCE)
def count_in_thread(ctx: SyncJobContext[Count], args: int) -> int:
    for number in range(ctx.checkpoint.done, args):
        ctx.save(Count(number + 1), insert_row, number)
        if ctx.attempt == 1 and number == 2:
            ctx.save(Count(number + 2), insert_and_break, 99)
    return ctx.checkpoint.done


@pytest.mark.parametrize("definition", [count_in_coroutine, count_in_thread], ids=lambda d: d.kind)
async def test_promise_3_a_write_that_breaks_takes_its_checkpoint_with_it(
    open_app: OpenApp, database: Database, definition
) -> None:
    app = await open_app(definition)
    async with app.worker():
        handle = await app.submit(definition, 6)
        assert await handle.result(SOON) == 6
        failed, completed = await handle.attempts()
    assert (failed.outcome, failed.error) == ("failed", "OSError: the write broke")
    assert completed.outcome == "completed"
    assert read_rows(database) == [0, 1, 2, 3, 4, 5]


async def test_more_handlers_save_at_once_than_there_are_connections(
    open_app: OpenApp, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without patience the first that finds all connections taken fails at once.
    monkeypatch.setattr("milepost.store.postgres.POOL_SECONDS", 0)
    many = 18
    saving: set[int] = set()
    go_on = threading.Event()

    @job("saves-slowly", max_attempts=1)
    def saves_slowly(ctx: SyncJobContext[int], args: int) -> None:
        def hold(conn: Connection) -> None:
            go_on.wait(SOON.total_seconds())
            insert_row(conn, args)

        saving.add(threading.get_ident())
        ctx.save(1, hold)

    def all_wait() -> bool:
        frames = [thread_frame(thread) for thread in saving]
        return len(frames) == many and all(f and f.f_code.co_name != "saves_slowly" for f in frames)

    app = await open_app(saves_slowly, concurrency=many, lease_for=SOON)
    async with app.worker():
        handles = await app.submit_many(saves_slowly, range(many))
        await eventually(lambda: all_wait() or app.happened(AttemptFinished))
        go_on.set()
        for handle in handles:
            await handle.result(SOON)
    assert sorted(read_rows(database)) == list(range(many))


async def test_promise_3_holds_where_the_data_is_in_another_database(
    open_app: OpenApp, other_database: Database
) -> None:
    @job("copy-in-coroutine", backoff=AT_ONCE)
    async def copy_in_coroutine(ctx: JobContext[Count], args: int) -> int:
        await ctx.keep_checkpoint_in(other_database)
        for number in range(ctx.checkpoint.done, args):
            await ctx.save(Count(number + 1), insert_row, number)
            if ctx.attempt == 1 and number == 2:
                await ctx.save(Count(number + 2), insert_and_break, 99)
        return ctx.checkpoint.done

    @job("copy-in-thread", backoff=AT_ONCE)
    def copy_in_thread(ctx: SyncJobContext[Count], args: int) -> int:
        ctx.keep_checkpoint_in(other_database)
        for number in range(ctx.checkpoint.done, args):
            ctx.save(Count(number + 1), insert_row, 100 + number)
            if ctx.attempt == 1 and number == 2:
                ctx.save(Count(number + 2), insert_and_break, 99)
        return ctx.checkpoint.done

    app = await open_app(copy_in_coroutine, copy_in_thread)
    async with app.worker():
        first = await app.submit(copy_in_coroutine, 5)
        assert await first.result(SOON) == 5
        second = await app.submit(copy_in_thread, 5)
        assert await second.result(SOON) == 5
        # The store has a copy to show.
        assert (await first.view()).checkpoint == '{"done":5}'
    assert read_rows(other_database) == [0, 1, 2, 3, 4, 100, 101, 102, 103, 104]


async def test_the_checkpoint_beside_the_data_counts_more_than_the_stores_copy(
    open_app: OpenApp, other_database: Database, database: Database
) -> None:
    began_at: list[int] = []

    @job("copy", backoff=AT_ONCE)
    async def copy(ctx: JobContext[Count], args: int) -> None:
        await ctx.keep_checkpoint_in(other_database)
        began_at.append(ctx.checkpoint.done)
        if ctx.attempt == 1:
            await ctx.save(Count(3), insert_row, 3)
            with database.begin() as conn:
                conn.execute(update(jobs).values(checkpoint='{"done":1}'))
            raise OSError("again")

    app = await open_app(copy)
    async with app.worker():
        await (await app.submit(copy, 0)).result(SOON)
    assert began_at == [0, 3]


async def test_an_async_write_function_is_refused_and_nothing_is_saved(
    open_app: OpenApp, database: Database
) -> None:
    async def insert_later(conn: Connection, value: int) -> None:
        insert_row(conn, value)

    @job("misled", max_attempts=1)
    async def misled(ctx: JobContext[Count], args: int) -> None:
        await ctx.save(Count(1), insert_later, 1)

    app = await open_app(misled)
    async with app.worker():
        handle = await app.submit(misled, 0)
        with pytest.raises(JobFailed, match="is async; save takes a plain function"):
            await handle.result(SOON)
        assert (await handle.view()).checkpoint is None
    assert read_rows(database) == []


Steal = Callable[[JobId], None]


def taken_in_store(database: Database) -> Steal:
    """Let a newer attempt have the job, as another worker's claim would."""

    def steal(job_id: JobId) -> None:
        with database.begin() as conn:
            mine = jobs.c.id == job_id
            conn.execute(update(jobs).where(mine).values(attempt=jobs.c.attempt + 1))

    return steal


async def refused_save(
    open_app: OpenApp, database: Database, steal: Steal
) -> tuple[App, BaseException]:
    """Run a job that saves after its lease was lost; returns what its second save raised."""
    raised: list[BaseException] = []

    @job("robbed")
    def robbed(ctx: SyncJobContext[Count], args: int) -> None:
        ctx.keep_checkpoint_in(database)
        ctx.save(Count(1), insert_row, 1)
        steal(ctx.job_id)
        try:
            ctx.save(Count(2), insert_row, 2)
        except LeaseLost as lost:
            raised.append(lost)
            raise

    app = await open_app(robbed, lease_for=20 * SOON)
    async with app.worker():
        await app.submit(robbed, 0)
        await eventually(lambda: raised)
    return app, raised[0]


async def test_promise_2_a_save_after_the_lease_was_lost_writes_nothing(
    open_app: OpenApp, database: Database
) -> None:
    _, lost = await refused_save(open_app, database, taken_in_store(database))
    assert "rolled back" in str(lost)
    assert read_rows(database) == [1]


async def test_promise_2_a_lost_lease_that_a_save_notices_is_reported(
    open_app: OpenApp, database: Database
) -> None:
    app, _ = await refused_save(open_app, database, taken_in_store(database))
    assert [event.kind for event in app.happened(LeaseWasLost)] == ["robbed"]


async def test_promise_2_holds_where_the_data_is_in_another_database(
    open_app: OpenApp, other_database: Database
) -> None:
    def steal(job_id: JobId) -> None:
        with other_database.begin() as conn:
            conn.execute(update(checkpoints).values(attempt=checkpoints.c.attempt + 1))

    _, lost = await refused_save(open_app, other_database, steal)
    assert "rolled back" in str(lost)
    assert read_rows(other_database) == [1]


async def test_promise_2_a_result_that_comes_too_late_is_not_stored(
    open_app: OpenApp, database: Database
) -> None:
    steal = taken_in_store(database)

    @job("slow")
    def slow(ctx: SyncJobContext[None], args: None) -> str:
        steal(ctx.job_id)
        return "mine"

    app = await open_app(slow, lease_for=20 * Backoff().first)
    async with app.worker():
        handle = await app.submit(slow, None)
        await eventually(lambda: app.happened(LeaseWasLost))
        view = await handle.view()
    assert (view.attempt, view.result) == (2, None)
    assert [each.outcome for each in await handle.attempts()] == []


async def test_promise_2_an_attempt_that_lost_its_lease_is_told_at_the_next_renewal(
    open_app: OpenApp, database: Database
) -> None:
    steal = taken_in_store(database)
    told: list[BaseException | None] = []

    @job("waits")
    def waits(ctx: SyncJobContext[None], args: None) -> None:
        steal(ctx.job_id)
        wait_until(lambda: ctx.cancel.requested)
        told.append(ctx.cancel.why)

    app = await open_app(waits)
    async with app.worker():
        await app.submit(waits, None)
        await eventually(lambda: told)
        # Otherwise the stolen job would run again when its lease ends.
        with database.begin() as conn:
            conn.execute(update(jobs).values(state="completed"))
    assert isinstance(told[0], LeaseLost)
