import pytest

from milepost.errors import JobNotFound
from milepost.jobs.outcomes import (
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Interrupted,
    Misfit,
    Outcome,
    Snoozed,
)
from milepost.jobs.states import FINAL, JobState
from milepost.store import jobs
from tests.store.store import HOUR, SECOND, Store

S = JobState


@pytest.mark.parametrize("state", [S.SCHEDULED, S.AVAILABLE])
def test_promise_5_a_cancelled_job_never_starts(store: Store, state: JobState) -> None:
    job_id = store.job_in(state)
    assert store.cancel(job_id, "no longer needed") is S.CANCELLED

    store.clock.turn(2 * HOUR)
    assert store.promote() == []
    assert store.claim() == []
    job = store.find(job_id)
    assert (job.state, job.cancel_reason, job.attempt) == (S.CANCELLED, "no longer needed", 0)
    assert job.finished_at == job.cancel_requested_at == store.clock.present - 2 * HOUR


def test_promise_5_a_running_job_learns_it_at_its_next_save_and_renewal(store: Store) -> None:
    job = store.start()
    assert not store.save(job.lease).cancel_requested
    assert store.cancel(job.lease.job_id, "enough") is S.RUNNING

    for held in (store.save(job.lease), *store.renew(job.lease)):
        assert (held.cancel_requested, held.cancel_reason) == (True, "enough")
    assert store.state(job.lease.job_id) is S.RUNNING


def test_a_request_is_found_by_the_leases_it_concerns(store: Store) -> None:
    asked, other, ended = store.start(), store.start(), store.start()
    store.cancel(asked.lease.job_id, "enough")
    store.cancel(ended.lease.job_id)
    store.settle(ended, Cancelled())
    with store.database.read() as conn:
        found = jobs.cancel_requests(conn, [asked.lease, other.lease, ended.lease])
    [each] = found
    assert (each.lease, each.cancel_reason) == (asked.lease, "enough")
    assert each.cancel_requested_at == store.clock.present


@pytest.mark.parametrize("state", sorted(FINAL))
def test_promise_5_the_caller_learns_that_the_job_had_finished_first(
    store: Store, state: JobState
) -> None:
    job_id = store.job_in(state)
    before = store.find(job_id)
    store.clock.turn(HOUR)
    assert store.cancel(job_id, "too late") is state
    assert store.find(job_id) == before


@pytest.mark.parametrize(
    "outcome",
    [Failed("no"), Crashed("killed"), Misfit("newer"), Interrupted(), Snoozed(SECOND), Cancelled()],
    ids=str,
)
def test_promise_5_a_job_cancelled_while_it_ran_does_not_run_again(
    store: Store, outcome: Outcome
) -> None:
    job = store.start()
    store.cancel(job.lease.job_id)
    assert store.settle(job, outcome) is S.CANCELLED
    assert store.find(job.lease.job_id).finished_at == store.clock.present
    assert store.settle(job, outcome) is S.CANCELLED


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(Completed("1"), S.COMPLETED), (Failed("no", recoverable=False), S.FAILED)],
)
def test_promise_5_a_job_that_ended_first_keeps_its_end(
    store: Store, outcome: Outcome, state: JobState
) -> None:
    job = store.start()
    store.cancel(job.lease.job_id)
    assert store.settle(job, outcome) is state


def test_promise_5_a_cancel_counts_before_the_last_crash(store: Store) -> None:
    job = store.start()
    store.cancel(job.lease.job_id)
    assert store.settle(job, Crashed("killed"), most_rescues=1) is S.CANCELLED


def test_promise_5_a_cancel_outlives_the_worker_that_should_have_heard_it(store: Store) -> None:
    job = store.start()
    store.cancel(job.lease.job_id, "enough")
    [rescued] = store.lose_worker()
    assert rescued.state is S.CANCELLED
    found = store.find(job.lease.job_id)
    assert (found.state, found.cancel_reason) == (S.CANCELLED, "enough")
    assert found.finished_at == store.clock.present
    assert store.claim(queue=job.queue) == []


def test_the_first_request_is_the_one_that_counts(store: Store) -> None:
    job_id = store.start().lease.job_id
    first = store.clock.present
    store.cancel(job_id, "first")
    store.clock.turn(SECOND)
    store.cancel(job_id, "second")
    job = store.find(job_id)
    assert (job.cancel_requested_at, job.cancel_reason) == (first, "first")


@pytest.mark.parametrize("reason", ["a\x00b", "\ud800", "ü"])
def test_a_reason_of_any_text_is_kept(store: Store, reason: str) -> None:
    job_id = store.submit()
    store.cancel(job_id, reason)
    assert store.find(job_id).cancel_reason == reason.replace("\x00", "\\x00").replace(
        "\ud800", "\\ud800"
    )


def test_a_job_that_is_not_there_cannot_be_cancelled(store: Store) -> None:
    with pytest.raises(JobNotFound):
        store.cancel(999)
