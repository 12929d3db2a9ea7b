import pytest

from milepost.errors import JobNotFound, JobNotRetryable
from milepost.jobs.outcomes import Cancelled, Failed
from milepost.jobs.states import JobState
from milepost.store import attempts, logs
from tests.store.store import HOUR, Store

S = JobState


def test_promise_4_a_retry_goes_on_from_the_checkpoint_with_the_next_attempt_number(
    store: Store,
) -> None:
    job = store.start(max_attempts=1)
    store.save(job.lease, "7")
    store.settle(job, Failed("no"))
    store.clock.turn(HOUR)

    assert store.retry(job.lease.job_id) == job.queue

    found = store.find(job.lease.job_id)
    assert (found.state, found.failures, found.rescues, found.error) == (S.AVAILABLE, 0, 0, None)
    assert (found.finished_at, found.lease_expires_at) == (None, None)
    assert found.run_at == store.clock.present
    again = store.start_again(job)
    assert (again.lease.attempt, again.checkpoint, again.failures) == (2, "7", 0)
    assert not again.attempts_left


def test_a_retry_withdraws_the_request_to_cancel(store: Store) -> None:
    job = store.start()
    store.cancel(job.lease.job_id, "enough")
    store.settle(job, Cancelled())
    store.retry(job.lease.job_id)
    found = store.find(job.lease.job_id)
    assert (found.cancel_requested_at, found.cancel_reason) == (None, None)
    assert not store.save(store.start_again(job).lease).cancel_requested


def test_a_job_cancelled_before_it_ever_ran_can_be_retried(store: Store) -> None:
    job_id = store.submit()
    store.cancel(job_id)
    store.retry(job_id)
    assert [job.lease.attempt for job in store.claim()] == [1]


def test_promise_4_the_history_and_the_log_show_the_retry(store: Store) -> None:
    job_id = store.job_in(S.FAILED)
    store.retry(job_id)
    with store.database.read() as conn:
        [attempt] = attempts.of_job(conn, job_id)
        [line] = logs.of_job(conn, job_id)
    assert (attempt.outcome, attempt.error) == ("failed", "it broke")
    assert line.message == "retried on request; was failed: it broke"


def test_three_deaths_are_forgiven_by_a_retry(store: Store) -> None:
    job = store.start()
    for _ in range(2):
        store.lose_worker()
        store.start_again(job)
    store.lose_worker()
    store.retry(job.lease.job_id)
    store.start_again(job)
    [rescued] = store.lose_worker()
    assert rescued.state is S.AVAILABLE


@pytest.mark.parametrize("state", [S.SCHEDULED, S.AVAILABLE, S.RUNNING, S.COMPLETED])
def test_any_other_job_cannot_be_retried(store: Store, state: JobState) -> None:
    job_id = store.job_in(state)
    before = store.find(job_id)
    with pytest.raises(JobNotRetryable, match=state) as caught:
        store.retry(job_id)
    assert caught.value.state == state
    assert store.find(job_id) == before


def test_a_job_that_is_not_there_cannot_be_retried(store: Store) -> None:
    with pytest.raises(JobNotFound):
        store.retry(999)
