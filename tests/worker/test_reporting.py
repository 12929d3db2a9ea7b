"""What a job says of itself while it runs: progress and log lines."""

import asyncio
import contextlib
import logging
import threading
from typing import Any, cast

import pytest
from sqlalchemy import event

from milepost import Database, JobContext, JobState, Part, Progress, SyncJobContext, job
from milepost.brokers import Broker
from milepost.jobs.events import AttemptFinished, TickFailed
from milepost.jobs.leases import Lease
from milepost.pools import Notes
from milepost.signals import open_signals
from milepost.store import progress as store_progress
from milepost.worker.board import Board
from milepost.worker.leases import LeaseKeeper
from milepost.worker.reporter import Reporter
from tests.worker.apps import OpenApp
from tests.worker.waiting import SOON, eventually, wait_until

MANY = 20_000


@job("chatter-in-coroutine")
async def chatter_in_coroutine(ctx: JobContext[None], args: int) -> None:
    for number in range(args + 1):
        ctx.progress(number, args, f"row {number}", parts={"rows": Part(number, args)})


@job("chatter-in-thread")
def chatter_in_thread(ctx: SyncJobContext[None], args: int) -> None:
    for number in range(args + 1):
        ctx.progress(number, args, f"row {number}", parts={"rows": Part(number, args)})


@pytest.mark.parametrize(
    "definition", [chatter_in_coroutine, chatter_in_thread], ids=["coroutine", "thread"]
)
async def test_progress_is_written_now_and_then_and_its_last_value_always(
    open_app: OpenApp, definition
) -> None:
    app = await open_app(definition)
    async with app.worker():
        handle = await app.submit(definition, MANY)
        view = await handle.wait(SOON)
        points = await app.database.query(store_progress.of_job, handle.job_id)
    assert view.progress == Progress(MANY, MANY, f"row {MANY}", {"rows": Part(MANY, MANY)})
    assert points[-1].count == MANY
    assert len(points) < 50


async def test_the_last_progress_of_many_short_jobs_is_never_lost(open_app: OpenApp) -> None:
    @job("short")
    async def short(ctx: JobContext[None], args: int) -> None:
        for number in range(args):
            ctx.progress(number + 1)
            await asyncio.sleep(0.001)

    app = await open_app(short, concurrency=8)
    # Of many lengths, so that some end while a report of theirs is under way.
    handles = await app.submit_many(short, range(1, 151))
    async with app.worker():
        views = [await handle.wait(SOON) for handle in handles]
    assert [view.progress.count for view in views if view.progress] == list(range(1, 151))


async def test_whoever_settles_waits_for_a_report_that_is_under_way(database: Database) -> None:
    notes, board = Notes(), Board(1)
    keeper = LeaseKeeper(
        board, cast(Broker, None), database,
        worker_id="w1", lease_for=SOON, observe=lambda _: None,
    )  # fmt: skip
    signals = open_signals(database)
    reporter = Reporter(notes, board, keeper, database, signals, cast(Broker, None))
    notes.progress(Lease(1, 1), Progress(1))  # of a job that is not there: nobody is shown it
    begun, go_on = threading.Event(), threading.Event()

    def hold_up(*_: object) -> None:
        begun.set()
        go_on.wait(SOON.total_seconds())

    event.listen(database.engine, "before_cursor_execute", hold_up)
    under_way = asyncio.create_task(reporter.tick())
    assert await asyncio.to_thread(begun.wait, SOON.total_seconds())
    before_settling = asyncio.create_task(reporter.tick())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not before_settling.done()
    go_on.set()
    await asyncio.gather(under_way, before_settling)
    signals.close()


async def test_progress_is_seen_while_the_job_runs(open_app: OpenApp) -> None:
    @job("walks")
    def walks(ctx: SyncJobContext[None], args: int) -> None:
        ctx.progress(3, 10, "walking")
        wait_until(lambda: ctx.cancel.requested)
        ctx.cancel.raise_if_cancelled()

    app = await open_app(walks)
    async with app.worker():
        handle = await app.submit(walks, 0)
        async with contextlib.aclosing(handle.watch()) as views:
            async for view in views:
                if view.progress is not None:
                    break
        assert (view.state, view.progress) == (JobState.RUNNING, Progress(3, 10, "walking"))
        await handle.cancel()


async def test_progress_of_a_save_is_written(open_app: OpenApp) -> None:
    @job("saves")
    async def saves(ctx: JobContext[int], args: int) -> None:
        await ctx.save(1, progress=Progress(1, 2, "half"))

    app = await open_app(saves)
    async with app.worker():
        view = await (await app.submit(saves, 0)).wait(SOON)
    assert view.progress == Progress(1, 2, "half")


async def test_log_lines_are_kept_with_the_job_in_order(
    open_app: OpenApp, caplog: pytest.LogCaptureFixture
) -> None:
    @job("logs")
    async def logs(ctx: JobContext[None], args: int) -> None:
        ctx.log.debug("begins")
        ctx.log.info("row %d of %s", 1, "two")
        ctx.log.warning("100%")
        ctx.log.error("odd \u0000 text")

    app = await open_app(logs)
    with caplog.at_level(logging.DEBUG, "milepost.jobs"):
        async with app.worker():
            handle = await app.submit(logs, 0)
            await handle.result(SOON)
            lines = await handle.logs()
    assert [(line.level, line.message) for line in lines] == [
        ("debug", "begins"),
        ("info", "row 1 of two"),
        ("warning", "100%"),
        ("error", "odd \\x00 text"),
    ]
    # The program's own log has them too.
    assert "row 1 of two" in caplog.messages


class Int64:
    """A whole number as numpy has them: no int."""

    def __index__(self) -> int:
        return 1


INT64: Any = Int64()

MALFORMED: dict[str, Any] = {
    "a count past 64 bits": lambda ctx: ctx.progress(2**70),
    "a total past 64 bits": lambda ctx: ctx.progress(1, 2**70),
    "a count that is text": lambda ctx: ctx.progress("many"),
    "a count that is a fraction": lambda ctx: ctx.progress(1.5),
    "a part without a name": lambda ctx: ctx.progress(1, 2, parts={1: Part(1, 2)}),
    "a part that is a pair": lambda ctx: ctx.progress(1, 2, parts={"rows": (1, 2)}),
    "a part's count of another kind": lambda ctx: ctx.progress(1, parts={"rows": Part(INT64)}),
    "parts that are a list": lambda ctx: ctx.progress(1, parts=[Part(1, 2)]),
    "a message that is an error": lambda ctx: ctx.progress(1, 2, OSError("gone")),
    "a log line that is an error": lambda ctx: ctx.log.error(OSError("gone")),
    "a log line that is nothing": lambda ctx: ctx.log.info(None),
}


@pytest.mark.parametrize("what", MALFORMED)
async def test_promise_7_a_malformed_report_never_keeps_other_jobs_from_settling(
    open_app: OpenApp, what: str
) -> None:
    @job("careless", max_attempts=1)
    def careless(ctx: SyncJobContext[None], args: int) -> None:
        MALFORMED[what](ctx)

    @job("careful")
    def careful(ctx: SyncJobContext[None], args: int) -> int:
        return args

    app = await open_app(careless, careful)
    async with app.worker():
        first = await app.submit(careless, 0)
        # Whether it fails or its report is mended: it ends, and so do the others.
        assert (await first.wait(SOON / 2)).state in (JobState.COMPLETED, JobState.FAILED)
        assert await (await app.submit(careful, 7)).result(SOON / 2) == 7


async def test_promise_7_no_outcome_waits_for_a_report_that_fails(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("not this one")

    @job("reports")
    async def reports(ctx: JobContext[None], args: int) -> int:
        ctx.progress(1)
        return args

    monkeypatch.setattr(store_progress, "report", refuse)
    app = await open_app(reports)
    async with app.worker():
        assert await (await app.submit(reports, 7)).result(SOON / 2) == 7
        await eventually(lambda: [e.role for e in app.happened(TickFailed)])
    assert {e.role for e in app.happened(TickFailed)} == {"report"}


async def test_a_flood_of_log_lines_costs_the_oldest(open_app: OpenApp) -> None:
    @job("floods")
    def floods(ctx: SyncJobContext[None], args: int) -> None:
        for number in range(args):
            ctx.log.info("line %d", number)

    app = await open_app(floods)
    async with app.worker():
        handle = await app.submit(floods, MANY)
        await handle.result(SOON)
        lines = await handle.logs()
    assert 0 < len(lines) <= 1000
    assert lines[-1].message == f"line {MANY - 1}"
    await eventually(lambda: app.happened(AttemptFinished))
