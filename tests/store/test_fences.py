"""Promise 2: what names an old attempt, or one that has ended, writes nothing."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from milepost.errors import LeaseLost
from milepost.jobs.leases import ClaimedJob, Lease, Settlement
from milepost.jobs.outcomes import (
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Interrupted,
    Misfit,
    Outcome,
    Snoozed,
    Waiting,
)
from milepost.jobs.progress import Progress
from milepost.jobs.states import JobState
from milepost.store import jobs, logs, progress, tables
from milepost.store.logs import LogLine
from tests.store.store import HOUR, SECOND, Store, claimed_as

S = JobState
Write = Callable[[Store, Lease], None]


def renew(store: Store, lease: Lease) -> None:
    assert store.renew(lease, lease_for=9 * HOUR) == []


def save(store: Store, lease: Lease) -> None:
    with pytest.raises(LeaseLost, match=str(lease)):
        store.save(lease, '"stale"')


def report(store: Store, lease: Lease) -> None:
    with store.database.begin() as conn:
        held = progress.report(conn, store.clock, {lease: Progress(9)}, checkpoints={lease: "9"})
        assert held == []


def log(store: Store, lease: Lease) -> None:
    with store.database.begin() as conn:
        logs.write(conn, [LogLine(lease, store.clock.present, "info", "stale")])


def settle(store: Store, lease: Lease) -> None:
    for outcome in (
        Completed("9"), Failed("stale"), Snoozed(SECOND), Cancelled(), Interrupted(),
        Crashed("stale"), Misfit("stale"), Waiting(),
    ):  # fmt: skip
        assert store.settle(claimed_as(lease), outcome) is None


def contents(store: Store) -> list[object]:
    kept = (tables.jobs, tables.attempts, tables.progress_points, tables.log_lines)
    return [store.rows(table.select().order_by(*table.primary_key)) for table in kept]


WRITES = [renew, save, report, log, settle]


@pytest.mark.parametrize("write", WRITES)
def test_promise_2_an_attempt_that_was_overtaken_writes_nothing(store: Store, write: Write) -> None:
    old = store.start()
    store.lose_worker()
    new = store.start_again(old)
    assert new.lease.attempt == old.lease.attempt + 1
    before = contents(store)

    write(store, old.lease)

    assert contents(store) == before


@pytest.mark.parametrize("write", [renew, save, report, settle])
def test_promise_2_a_rescued_attempt_writes_nothing_though_nobody_has_the_job_yet(
    store: Store, write: Write
) -> None:
    old = store.start()
    store.lose_worker()
    before = contents(store)

    write(store, old.lease)

    assert contents(store) == before


@pytest.mark.parametrize("write", [renew, save, report])
@pytest.mark.parametrize(
    "outcome",
    [
        Completed("1"), Failed("no"), Failed("no", recoverable=False), Snoozed(SECOND),
        Interrupted(), Crashed("killed"), Misfit("newer"),
    ],
    ids=str,
)  # fmt: skip
def test_promise_2_a_settled_attempt_writes_nothing(
    store: Store, write: Write, outcome: Outcome
) -> None:
    job = store.start()
    store.settle(job, outcome)
    before = contents(store)

    write(store, job.lease)

    assert contents(store) == before


@pytest.mark.parametrize("write", WRITES)
def test_promise_2_a_lease_that_was_never_given_writes_nothing(store: Store, write: Write) -> None:
    job = store.start()
    before = contents(store)

    write(store, Lease(job.lease.job_id, job.lease.attempt + 1))
    write(store, Lease(job.lease.job_id + 1, job.lease.attempt))

    assert contents(store) == before


def test_promise_2_in_a_batch_each_lease_is_judged_by_itself(store: Store) -> None:
    lost = store.start()
    store.lose_worker()
    new = store.start_again(lost)
    other = store.start()

    held = store.renew(lost.lease, other.lease, new.lease)
    assert {each.lease for each in held} == {new.lease, other.lease}

    states = store.settle_many(*[
        Settlement(job, Completed("1")) for job in (lost, other)
    ])  # fmt: skip
    assert states == {other.lease: S.COMPLETED}
    assert store.state(new.lease.job_id) is S.RUNNING


def test_an_expired_lease_that_nobody_took_is_still_held(store: Store) -> None:
    job = store.start()
    store.clock.turn(HOUR)
    store.save(job.lease, '"late"')
    [held] = store.renew(job.lease)
    assert held.lease == job.lease
    assert store.rescue() == []


def test_a_renewal_lasts_from_now(store: Store) -> None:
    job = store.start()
    store.clock.turn(30 * SECOND)
    store.renew(job.lease, lease_for=timedelta(seconds=40))
    expires = store.find(job.lease.job_id).lease_expires_at
    assert expires == store.clock.present + timedelta(seconds=40)


def test_no_leases_are_no_work(store: Store) -> None:
    assert store.renew() == []
    assert store.settle_many() == {}
    with store.database.begin() as conn:
        assert progress.report(conn, store.clock, {}, checkpoints={}) == []
        assert jobs.cancel_requests(conn, []) == []
        logs.write(conn, [])


def test_attempt_numbers_only_rise_whatever_ends_an_attempt(store: Store) -> None:
    job = store.start(max_attempts=100)
    ends: list[Callable[[ClaimedJob], object]] = [
        lambda job: store.settle(job, Interrupted()),
        lambda job: store.settle(job, Snoozed(SECOND)),
        lambda job: store.settle(job, Crashed("killed")),
        lambda job: store.settle(job, Misfit("newer")),
        lambda job: store.settle(job, Failed("no")),
        lambda _: store.lose_worker(),
        lambda job: (store.settle(job, Failed("no", recoverable=False)),
                     store.retry(job.lease.job_id)),
    ]  # fmt: skip
    for number, end in enumerate(ends, start=1):
        assert job.lease.attempt == number
        end(job)
        store.clock.turn(HOUR)
        store.promote()
        job = store.start_again(job)
