"""How jobs fail, and how often they may."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import update

from milepost import (
    Backoff,
    Database,
    JobContext,
    JobFailed,
    JobState,
    Snooze,
    SyncJobContext,
    Unrecoverable,
    job,
)
from milepost.jobs.events import AttemptFinished
from milepost.store.tables import jobs
from tests.worker.apps import OpenApp
from tests.worker.rows import rows
from tests.worker.waiting import SOON, eventually, wait_until

QUICKLY = Backoff(first=timedelta(seconds=0.2), factor=2, jitter=0)


@dataclass(frozen=True)
class Order:
    number: int


async def test_a_failing_job_runs_again_after_its_back_off_until_its_attempts_are_used_up(
    open_app: OpenApp,
) -> None:
    @job("breaks", backoff=QUICKLY)
    async def breaks(ctx: JobContext[None], args: int) -> None:
        raise ValueError(f"attempt {ctx.attempt}")

    app = await open_app(breaks)
    async with app.worker():
        handle = await app.submit(breaks, 0)
        with pytest.raises(JobFailed, match="ValueError: attempt 3"):
            await handle.result(SOON)
        view, attempts = await handle.view(), await handle.attempts()

    assert (view.attempt, view.failures) == (3, 3)
    assert [each.error for each in attempts] == [f"ValueError: attempt {n}" for n in (1, 2, 3)]
    assert "in breaks" in (attempts[0].traceback or "")
    first, second, third = attempts
    assert second.started_at is not None
    assert third.started_at is not None
    assert second.started_at - first.finished_at >= timedelta(seconds=0.19)
    assert third.started_at - second.finished_at >= timedelta(seconds=0.39)


async def test_a_job_that_fails_once_and_then_works_is_completed(open_app: OpenApp) -> None:
    @job("hiccups", backoff=QUICKLY)
    def hiccups(ctx: SyncJobContext[None], args: int) -> str:
        if ctx.attempt == 1:
            raise OSError("hiccup")
        return "fine"

    app = await open_app(hiccups)
    async with app.worker():
        handle = await app.submit(hiccups, 0)
        assert await handle.result(SOON) == "fine"
        assert (await handle.view()).failures == 1


async def test_a_jobs_own_attempts_and_back_off_count_more_than_its_definitions(
    open_app: OpenApp,
) -> None:
    @job("breaks", max_attempts=5, backoff=Backoff(first=timedelta(hours=1)))
    def breaks(ctx: SyncJobContext[None], args: int) -> None:
        raise OSError("no")

    app = await open_app(breaks)
    async with app.worker():
        handle = await app.submit(breaks, 0, max_attempts=2, backoff=QUICKLY)
        view = await handle.wait(SOON)
    assert (view.state, view.attempt) == (JobState.FAILED, 2)


async def test_unrecoverable_fails_at_once(open_app: OpenApp) -> None:
    @job("hopeless")
    async def hopeless(ctx: JobContext[None], args: int) -> None:
        raise Unrecoverable("the shop has closed")

    app = await open_app(hopeless)
    async with app.worker():
        handle = await app.submit(hopeless, 0)
        with pytest.raises(JobFailed, match="the shop has closed"):
            await handle.result(SOON)
        assert (await handle.view()).attempt == 1


async def test_a_snooze_costs_nothing(open_app: OpenApp) -> None:
    @job("naps", max_attempts=1)
    async def naps(ctx: JobContext[None], args: int) -> int:
        if ctx.attempt <= args:
            raise Snooze(timedelta(seconds=0.05), "not ready")
        return ctx.attempt

    app = await open_app(naps)
    async with app.worker():
        handle = await app.submit(naps, 3)
        assert await handle.result(SOON) == 4
        assert (await handle.view()).failures == 0
        outcomes = [each.outcome for each in await handle.attempts()]
    assert outcomes == ["snoozed", "snoozed", "snoozed", "completed"]


async def test_a_coroutine_past_its_time_limit_fails(open_app: OpenApp) -> None:
    @job("dawdles", max_attempts=1, time_limit=timedelta(seconds=0.2))
    async def dawdles(ctx: JobContext[None], args: int) -> None:
        await asyncio.sleep(SOON.total_seconds())

    app = await open_app(dawdles)
    async with app.worker():
        handle = await app.submit(dawdles, 0)
        with pytest.raises(JobFailed, match="time limit: ran longer than 0:00:00.2"):
            await handle.result(SOON)


async def test_a_thread_past_its_time_limit_is_told_at_its_next_look(open_app: OpenApp) -> None:
    @job("dawdles", max_attempts=1)
    def dawdles(ctx: SyncJobContext[None], args: int) -> None:
        wait_until(ctx.cancel.raise_if_cancelled)

    app = await open_app(dawdles)
    async with app.worker():
        handle = await app.submit(dawdles, 0, time_limit=timedelta(seconds=0.2))
        with pytest.raises(JobFailed, match="time limit: ran longer than 0:00:00.2"):
            await handle.result(SOON)


async def test_the_shortest_time_limit_stops_its_own_job_only(open_app: OpenApp) -> None:
    @job("dawdles", max_attempts=1)
    async def dawdles(ctx: JobContext[None], args: float) -> None:
        await asyncio.sleep(args)

    app = await open_app(dawdles)
    async with app.worker():
        shortest = await app.submit(dawdles, 20.0, time_limit=timedelta(microseconds=1))
        short = await app.submit(dawdles, 20.0, time_limit=timedelta(seconds=0.1))
        assert (await short.wait(SOON)).state is JobState.FAILED
        assert (await shortest.wait(SOON)).state is JobState.FAILED


async def test_promise_9_a_result_of_another_type_fails_readably(open_app: OpenApp) -> None:
    @job("lies", max_attempts=1)
    async def lies(ctx: JobContext[None], args: int) -> Order:
        return object()  # type: ignore[return-value]

    app = await open_app(lies)
    async with app.worker():
        handle = await app.submit(lies, 0)
        with pytest.raises(JobFailed, match="result of lies must be Order, not object"):
            await handle.result(SOON)


async def test_promise_9_args_in_the_store_that_do_not_fit_fail_readably_and_only_once(
    open_app: OpenApp, database: Database
) -> None:
    ran: list[Order] = []

    @job("ship")
    async def ship(ctx: JobContext[None], args: Order) -> None:
        ran.append(args)

    app = await open_app(ship, misfits_for=timedelta(0))
    handle = await app.submit(ship, Order(7))
    with database.begin() as conn:
        conn.execute(update(jobs).values(args='{"number":"seven"}'))
    async with app.worker():
        with pytest.raises(JobFailed, match="args of ship does not fit Order: number: .*integer"):
            await handle.result(SOON)
        assert (await handle.view()).attempt == 1
    assert ran == []


@pytest.mark.parametrize("args", ["{", "null", "[]", '{"number":1e999}', ""])
async def test_promise_9_args_that_are_not_even_json_fail_readably(
    open_app: OpenApp, database: Database, args: str
) -> None:
    @job("ship")
    def ship(ctx: SyncJobContext[None], args: Order) -> None:
        pass

    app = await open_app(ship, misfits_for=timedelta(0))
    handle = await app.submit(ship, Order(7))
    with database.begin() as conn:
        conn.execute(update(jobs).values(args=args))
    async with app.worker():
        with pytest.raises(JobFailed, match="args of ship does not fit Order"):
            await handle.result(SOON)


async def test_promise_9_a_checkpoint_in_the_store_that_does_not_fit_fails_readably(
    open_app: OpenApp, database: Database
) -> None:
    @job("ship")
    def ship(ctx: SyncJobContext[int], args: Order) -> None:
        pass

    app = await open_app(ship, misfits_for=timedelta(0))
    handle = await app.submit(ship, Order(7))
    with database.begin() as conn:
        conn.execute(update(jobs).values(checkpoint='"seven"'))
    async with app.worker():
        with pytest.raises(JobFailed, match="checkpoint of ship does not fit int"):
            await handle.result(SOON)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
async def test_promise_7_not_even_an_exit_in_a_handler_ends_its_worker(
    open_app: OpenApp, error: BaseException
) -> None:
    @job("exits-in-coroutine", max_attempts=1)
    async def exits_in_coroutine(ctx: JobContext[None], args: int) -> None:
        raise error

    @job("exits-in-thread", max_attempts=1)
    def exits_in_thread(ctx: SyncJobContext[None], args: int) -> None:
        raise error

    app = await open_app(exits_in_coroutine, exits_in_thread)
    async with app.worker():
        for definition in (exits_in_coroutine, exits_in_thread, exits_in_coroutine):
            view = await (await app.submit(definition, 0)).wait(SOON)
            assert view.state is JobState.FAILED
            assert type(error).__name__ in (view.error or "")


async def test_a_failed_job_that_is_retried_goes_on_from_its_checkpoint(open_app: OpenApp) -> None:
    @job("stumbles", max_attempts=1)
    async def stumbles(ctx: JobContext[int], args: int) -> int:
        if ctx.checkpoint == 0:
            await ctx.save(5)
            raise OSError("stumbled")
        return ctx.checkpoint

    app = await open_app(stumbles)
    async with app.worker():
        handle = await app.submit(stumbles, 0)
        assert (await handle.wait(SOON)).state is JobState.FAILED
        await handle.retry()
        assert await handle.result(SOON) == 5
        await eventually(lambda: len(app.happened(AttemptFinished)) == 2)
        lines = [line.message for line in await handle.logs()]
    assert lines == ["retried on request; was failed: OSError: stumbled"]


@pytest.mark.parametrize("column", ["value", "attempt"])
async def test_an_error_of_the_database_keeps_no_record_in_the_history(
    open_app: OpenApp, database: Database, column: str
) -> None:
    secret = 424242

    @job("breaks-a-row", max_attempts=1)
    def breaks_a_row(ctx: SyncJobContext[int], args: None) -> None:
        row = {"value": secret, "attempt": secret, column: None}
        ctx.save(1, lambda conn: conn.execute(rows.insert(), [row]))

    app = await open_app(breaks_a_row)
    async with app.worker():
        handle = await app.submit(breaks_a_row, None)
        with pytest.raises(JobFailed, match="IntegrityError") as failed:
            await handle.result(SOON)
        [attempt] = await handle.attempts()
    assert str(secret) not in f"{failed.value} {attempt.error} {attempt.traceback}"
