"""Flows, run by workers."""

import pytest

from milepost import (
    Database,
    JobContext,
    JobFailed,
    JobState,
    JobWasCancelled,
    PayloadInvalid,
    child,
    job,
)
from milepost.jobs.context import SyncJobContext
from milepost.store import reading
from milepost.store.filters import JobFilter
from milepost.store.tables import joins
from tests.worker import flows
from tests.worker.apps import OpenApp
from tests.worker.flows import Split, insert_and_break, sleep, square, sum_of_squares
from tests.worker.rows import read_rows
from tests.worker.waiting import SOON, eventually

SPLITS = [flows.split_in_coroutine, flows.split_in_thread, flows.split_in_process]


async def test_a_join_gets_the_results_of_all_it_waited_for(open_app: OpenApp) -> None:
    app = await open_app(square, sum_of_squares, concurrency=20)
    async with app.worker():
        children = await app.submit_many(square, range(120))
        handle = await app.submit(sum_of_squares, "", after=children)
        assert await handle.result(SOON) == sum(n * n for n in range(120))
    assert (await handle.view()).attempt == 1


async def test_a_flow_is_submitted_whole_or_not_at_all(open_app: OpenApp) -> None:
    app = await open_app(square, sum_of_squares)
    with app.database.begin() as conn:
        first = app.submit_in(conn, square, 3)
        second = app.submit_in(conn, sum_of_squares, "", after=[first])
        third = app.submit_in(conn, sum_of_squares, "", after=[second.job_id])
    async with app.worker():
        assert await second.result(SOON) == 9
        assert await third.result(SOON) == 0


@pytest.mark.parametrize("definition", SPLITS, ids=lambda d: d.kind)
async def test_a_handler_goes_on_when_its_children_have_ended(
    open_app: OpenApp, definition
) -> None:
    # A lease longer than a busy machine takes: it shall not be rescued here.
    app = await open_app(square, definition, lease_for=SOON)
    async with app.worker():
        handle = await app.submit(definition, [1, 2, 3])
        assert await handle.result(SOON * 3) == 14
        first, second = await handle.attempts()
    assert (first.outcome, second.outcome) == ("waiting", "completed")
    # It holds no slot of its worker meanwhile, and pays nothing.
    assert (await handle.view()).failures == 0


async def test_a_handler_sees_which_children_failed_where_it_asks_for_that(
    open_app: OpenApp,
) -> None:
    app = await open_app(square, flows.split_and_see, flows.split_in_thread)
    async with app.worker():
        handle = await app.submit(flows.split_and_see, [1, -2])
        assert await handle.result(SOON) == ["1: completed", "-2: failed"]
        failing = await app.submit(flows.split_in_thread, [1, -2])
        with pytest.raises(JobFailed, match="which it waits for, failed: -2 is below zero"):
            await failing.result(SOON)


async def test_promise_3_children_are_submitted_with_the_checkpoint_or_not_at_all(
    open_app: OpenApp, database: Database
) -> None:
    @job("breaks-once", max_attempts=2)
    def breaks_once(ctx: SyncJobContext[Split], args: int) -> int:
        if not ctx.checkpoint.done:
            children = [child(square, args)]
            if ctx.attempt == 1:
                ctx.save(Split(True), insert_and_break, children=children)
            ctx.save(Split(True), children=children)
        ctx.wait_for_children()
        return sum(each.result for each in ctx.children(square))

    app = await open_app(square, breaks_once)
    async with app.worker():
        assert await (await app.submit(breaks_once, 5)).result(SOON) == 25
    assert read_rows(database) == []
    found = await app.database.query(reading.recent, JobFilter(kind="square"))
    assert len(found) == 1


async def test_a_cancel_stops_what_waits_and_what_runs_below(open_app: OpenApp) -> None:
    app = await open_app(square, sleep, sum_of_squares, concurrency=1)
    async with app.worker():
        running, waiting = await app.submit_many(sleep, [600, 600])
        top = await app.submit(sum_of_squares, "", after=[running, waiting])
        await eventually(lambda: is_running(running))
        assert (await top.cancel("enough")).cancelled
        with pytest.raises(JobWasCancelled, match="which waits for it, has ended"):
            await running.result(SOON)
        assert (await waiting.view()).attempt == 0
        assert (await waiting.view()).state is JobState.CANCELLED


async def is_running(handle) -> bool:
    return (await handle.view()).state is JobState.RUNNING


async def test_a_retried_child_lets_the_flow_go_on(open_app: OpenApp) -> None:
    failing = [True]

    @job("fails-at-first", max_attempts=1)
    async def fails_at_first(ctx: JobContext[None], args: int) -> int:
        if failing[0]:
            raise OSError("not yet")
        return args

    @job("takes", max_attempts=1)
    async def takes(ctx: JobContext[None], args: int) -> int:
        [first] = [each async for each in ctx.children(fails_at_first)]
        return first.result + args

    app = await open_app(fails_at_first, takes)
    async with app.worker():
        first = await app.submit(fails_at_first, 1)
        second = await app.submit(takes, 2, after=[first])
        with pytest.raises(JobFailed, match="failed: OSError: not yet"):
            await second.result(SOON)
        failing[0] = False
        await first.retry()
        assert await second.result(SOON) == 3


async def test_children_are_refused_where_the_checkpoint_is_elsewhere(
    open_app: OpenApp, other_database: Database
) -> None:
    @job("elsewhere", max_attempts=1)
    async def elsewhere(ctx: JobContext[Split], args: int) -> None:
        await ctx.keep_checkpoint_in(other_database)
        await ctx.save(Split(True), children=[child(square, 1)])

    app = await open_app(square, elsewhere)
    async with app.worker():
        handle = await app.submit(elsewhere, 1)
        with pytest.raises(JobFailed, match="keeps its checkpoint in another database"):
            await handle.result(SOON)
    assert await app.database.query(lambda conn: conn.execute(joins.select()).all()) == []


async def test_bad_ways_to_wait_are_refused_in_words(open_app: OpenApp) -> None:
    app = await open_app(square, sum_of_squares)
    with pytest.raises(PayloadInvalid, match="'fail', 'cancel', 'go-on', not 'ignore'"):
        await app.submit(sum_of_squares, "", after=[], on_failure="ignore")  # type: ignore[arg-type]
    with pytest.raises(PayloadInvalid, match="at most 100,000 others, not 100,001"):
        await app.submit(sum_of_squares, "", after=list(range(100_001)))
    with pytest.raises(PayloadInvalid, match="a child takes .*, not unique_key"):
        child(square, 1, unique_key="k")  # type: ignore[call-arg]
    with pytest.raises(PayloadInvalid, match="args of square must be int"):
        child(square, "1")
