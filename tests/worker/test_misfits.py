"""A rolling deploy: what does not fit an old worker is left for a new one, and for how long."""

from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from milepost import (
    Database,
    JobContext,
    JobDefinition,
    JobFailed,
    JobState,
    Snooze,
    SyncJobContext,
    job,
)
from milepost.jobs.events import AttemptFinished
from milepost.jobs.leases import ClaimedJob, Lease, Settlement
from milepost.jobs.outcomes import Completed, Failed, Interrupted, Misfit, Outcome
from milepost.jobs.requests import JobRequest
from milepost.store import attempts as history
from milepost.store import jobs as store
from milepost.store.tables import jobs
from milepost.worker import misfits
from milepost.worker.misfits import FIRST_WAIT, LONGEST_WAIT, Misfits
from tests.worker.apps import App, OpenApp
from tests.worker.rows import insert_row
from tests.worker.waiting import SOON, eventually

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Old:
    number: int


@dataclass(frozen=True)
class New:
    name: str


@dataclass(frozen=True)
class Wider:
    number: int
    dry_run: bool = False


@dataclass(frozen=True)
class At:
    name: str = ""


def shipping(args: type[Any], *, is_async: bool) -> JobDefinition[Any, None, str]:
    """One kind, as one of two programs defines it."""

    async def ship_in_coroutine(ctx: JobContext[None], args: Any) -> str:
        return type(args).__name__

    def ship_in_thread(ctx: SyncJobContext[None], args: Any) -> str:
        return type(args).__name__

    return JobDefinition(
        "ship", args=args, checkpoint=type(None), result=str,
        handler=ship_in_coroutine if is_async else ship_in_thread,
    )  # fmt: skip


async def test_an_option_that_an_old_worker_does_not_know_is_not_ignored(
    open_app: OpenApp,
) -> None:
    old = await open_app(shipping(Old, is_async=False))
    newer = shipping(Wider, is_async=False)
    new = await open_app(newer)
    async with old.worker():
        handle = await new.submit(newer, Wider(1, dry_run=True))
        await eventually(lambda: old.happened(AttemptFinished))
    async with new.worker():
        assert await handle.result(SOON) == "Wider"

    assert await outcomes(new, handle.job_id) == ["misfit", "completed"]


async def outcomes(app: App, job_id: int) -> list[str]:
    ended = await app.database.query(history.of_job, job_id)
    return [attempt.outcome for attempt in ended]


@pytest.mark.parametrize("is_async", [True, False])
async def test_promise_1_what_an_old_worker_cannot_read_is_left_for_a_new_one_at_no_cost(
    open_app: OpenApp, is_async: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who takes it next is up to chance: let it have many turns.
    monkeypatch.setattr(misfits, "LONGEST_WAIT", timedelta(milliseconds=100))
    old = await open_app(shipping(Old, is_async=is_async))
    newer = shipping(New, is_async=is_async)
    new = await open_app(newer)
    async with old.worker():
        handle = await new.submit(newer, New("seven"))
        await eventually(lambda: old.happened(AttemptFinished))
        view = await handle.view()
        assert (view.state, view.failures) == (JobState.SCHEDULED, 0)
        assert "args of ship does not fit Old: number: " in str(view.error)
        async with new.worker():
            assert await handle.result(SOON) == "New"
    view = await handle.view()
    assert (view.failures, view.error) == (0, None)
    *before, last = await outcomes(new, handle.job_id)
    assert last == "completed"
    assert set(before) == {"misfit"}


async def test_where_no_newer_worker_comes_the_job_fails_and_says_so(open_app: OpenApp) -> None:
    old = await open_app(shipping(Old, is_async=True), misfits_for=timedelta(seconds=0.5))
    newer = shipping(New, is_async=True)
    new = await open_app(newer)
    handle = await new.submit(newer, New("seven"))
    async with old.worker():
        left = r"args of ship does not fit Old: .*; left for a newer worker for 0:00:00.5"
        with pytest.raises(JobFailed, match=left):
            await handle.result(SOON)
    assert (await handle.view()).failures == 1
    assert await outcomes(new, handle.job_id) == ["misfit", "failed"]
    told = [type(event.outcome) for event in old.happened(AttemptFinished)]
    assert told == [Misfit, Failed]


async def test_a_checkpoint_of_a_newer_program_is_left_for_it_too(
    open_app: OpenApp, database: Database
) -> None:
    @job("ship")
    async def ship(ctx: JobContext[At], args: Old) -> None:
        raise AssertionError

    app = await open_app(ship)
    handle = await app.submit(ship, Old(7))
    with database.begin() as conn:
        conn.execute(update(jobs).values(checkpoint='{"name":7}'))
    async with app.worker():
        await eventually(lambda: app.happened(AttemptFinished))
    assert (await handle.view()).state is JobState.SCHEDULED
    assert await outcomes(app, handle.job_id) == ["misfit"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_so_is_one_that_is_kept_beside_the_data(
    open_app: OpenApp, other_database: Database, database: Database, is_async: bool
) -> None:
    async def save_in_coroutine(ctx: JobContext[int], args: int) -> None:
        await ctx.keep_checkpoint_in(other_database)
        await ctx.save(1, insert_row, 1)
        raise OSError("again")

    def save_in_thread(ctx: SyncJobContext[int], args: int) -> None:
        ctx.keep_checkpoint_in(other_database)
        ctx.save(1, insert_row, 1)
        raise OSError("again")

    async def resume_in_coroutine(ctx: JobContext[At], args: int) -> None:
        await ctx.keep_checkpoint_in(other_database)
        raise AssertionError

    def resume_in_thread(ctx: SyncJobContext[At], args: int) -> None:
        ctx.keep_checkpoint_in(other_database)
        raise AssertionError

    newer: Any = job("copy")(save_in_coroutine if is_async else save_in_thread)
    older: Any = job("copy")(resume_in_coroutine if is_async else resume_in_thread)
    new, old = await open_app(newer), await open_app(older)
    handle = await new.submit(newer, 0)
    async with new.worker():
        await eventually(lambda: new.happened(AttemptFinished))
    with database.begin() as conn:
        # As when the newer one died before the store had a copy of it.
        conn.execute(update(jobs).values(checkpoint=None, run_at=database.clock.now()))
    async with old.worker():
        await eventually(lambda: old.happened(AttemptFinished))
    assert await outcomes(new, handle.job_id) == ["failed", "misfit"]


async def test_a_worker_begins_to_count_anew_when_the_job_has_fitted(
    open_app: OpenApp, database: Database
) -> None:
    def set_args(text: str) -> None:
        with database.begin() as conn:
            conn.execute(update(jobs).values(args=text, run_at=database.clock.now()))

    @job("ship")
    def ship(ctx: SyncJobContext[None], args: Old) -> None:
        set_args("{}")
        raise Snooze(timedelta(0))

    app = await open_app(ship)
    handle = await app.submit(ship, Old(7))
    set_args("{}")
    async with app.worker():
        await eventually(lambda: len(app.happened(AttemptFinished)) == 1)
        set_args('{"number":7}')
        await eventually(lambda: len(app.happened(AttemptFinished)) == 3)
        ended = await app.database.query(history.of_job, handle.job_id)
        assert [attempt.outcome for attempt in ended] == ["misfit", "snoozed", "misfit"]
        wait = (await handle.view()).run_at - ended[-1].finished_at
        assert wait < 1.5 * FIRST_WAIT


# What a worker remembers.


class Met:
    """A store with one job, and what a worker that it does not fit makes of each attempt."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database = database
        self.now = 0.0
        self.submit()
        monkeypatch.setattr(misfits, "time", SimpleNamespace(monotonic=lambda: self.now))

    def submit(self) -> None:
        request = JobRequest(kind="k", args="{}", queue="q", priority=0, max_attempts=1)
        with self.database.begin() as conn:
            store.submit(conn, self.database.clock, [request])

    def attempt(self) -> ClaimedJob:
        with self.database.begin() as conn:
            conn.execute(update(jobs).values(state=JobState.AVAILABLE))
            [claimed] = store.claim(
                conn, self.database.clock, queue="q", kinds=["k"], limit=1,
                lease_for=MINUTE, worker_id="w",
            )  # fmt: skip
        return claimed

    def end(self, outcome: Outcome) -> None:
        """Have another worker run it."""
        self.settle(Settlement(self.attempt(), outcome))

    def settle(self, settlement: Settlement) -> None:
        with self.database.begin() as conn:
            store.settle(conn, self.database.clock, [settlement])

    async def meet(self, worker: Misfits, *, after: timedelta = timedelta(0)) -> Settlement:
        self.now += after.total_seconds()
        settlement = await worker.settlement(self.attempt(), Misfit("no"))
        self.settle(settlement)
        return settlement


@pytest.fixture
def met(database: Database, monkeypatch: pytest.MonkeyPatch) -> Met:
    return Met(database, monkeypatch)


def worker_with(met: Met, leave_for: timedelta) -> Misfits:
    return Misfits(met.database, leave_for=leave_for)


async def test_each_meeting_makes_the_wait_longer_up_to_half_a_minute(met: Met) -> None:
    worker = worker_with(met, timedelta(hours=1))
    waits = [(await met.meet(worker)).retry_after.total_seconds() for _ in range(8)]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


async def test_without_a_time_to_leave_it_for_it_fails_at_once(met: Met) -> None:
    settlement = await met.meet(worker_with(met, timedelta(0)))
    assert settlement.outcome == Failed("no", recoverable=False)


async def test_it_fails_when_it_was_left_for_long_enough(met: Met) -> None:
    worker = worker_with(met, MINUTE)
    assert (await met.meet(worker)).outcome == Misfit("no")
    assert (await met.meet(worker, after=MINUTE * 0.9)).outcome == Misfit("no")
    failed = (await met.meet(worker, after=MINUTE * 0.1)).outcome
    why = "no; left for a newer worker for 0:01:00, none took it"
    assert failed == Failed(why, recoverable=False)


@pytest.mark.parametrize("outcome", [Failed("busy"), Interrupted(), Completed("1")], ids=str)
async def test_what_a_newer_worker_has_run_meanwhile_is_left_for_as_long_again(
    met: Met, outcome: Outcome
) -> None:
    worker = worker_with(met, MINUTE)
    await met.meet(worker)
    met.end(outcome)
    again = await met.meet(worker, after=9 * MINUTE)
    assert (again.outcome, again.retry_after) == (Misfit("no"), FIRST_WAIT)
    assert isinstance((await met.meet(worker, after=MINUTE)).outcome, Failed)


async def test_other_old_workers_that_meet_it_meanwhile_change_nothing(met: Met) -> None:
    one, other = worker_with(met, MINUTE), worker_with(met, MINUTE)
    await met.meet(one)
    await met.meet(other, after=MINUTE / 2)
    assert isinstance((await met.meet(one, after=MINUTE / 2)).outcome, Failed)


async def test_a_job_that_fits_after_all_is_forgotten(met: Met) -> None:
    worker = worker_with(met, timedelta(hours=1))
    first = await met.meet(worker)
    await met.meet(worker)
    worker.forget(first.job.lease.job_id)
    assert (await met.meet(worker)).retry_after == FIRST_WAIT


@pytest.mark.parametrize("after", [timedelta(0), MINUTE])
async def test_settling_the_same_again_says_the_same(met: Met, after: timedelta) -> None:
    worker = worker_with(met, MINUTE)
    await met.meet(worker)
    met.now += after.total_seconds()
    attempt = met.attempt()
    first = await worker.settlement(attempt, Misfit("no"))
    met.now += MINUTE.total_seconds()
    assert await worker.settlement(attempt, Misfit("no")) == first


async def test_promise_8_so_many_are_remembered_and_no_more_and_yet_each_fails_in_the_end(
    met: Met, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(misfits, "MOST_REMEMBERED", 2)
    worker = worker_with(met, MINUTE)
    template = met.attempt()

    async def meet(job_id: int, attempt: int) -> Settlement:
        claimed = template._replace(lease=Lease(job_id, attempt))
        settlement = await worker.settlement(claimed, Misfit("no"))
        if isinstance(settlement.outcome, Failed):
            worker.forget(job_id)
        return settlement

    assert (await meet(101, 1)).retry_after == FIRST_WAIT
    assert (await meet(102, 1)).retry_after == FIRST_WAIT
    assert (await meet(103, 1)).retry_after == LONGEST_WAIT

    met.now += MINUTE.total_seconds()
    assert isinstance((await meet(101, 2)).outcome, Failed)
    assert (await meet(103, 2)).retry_after == FIRST_WAIT
    assert (await meet(104, 1)).retry_after == LONGEST_WAIT

    # The newer workers have taken 102 by now.
    met.now += MINUTE.total_seconds()
    assert isinstance((await meet(103, 3)).outcome, Failed)
    met.now += 2 * MINUTE.total_seconds()
    assert (await meet(104, 2)).retry_after == FIRST_WAIT
    assert (await meet(105, 1)).retry_after == FIRST_WAIT
    assert len(worker._met) == 2
