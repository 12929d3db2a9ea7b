from datetime import timedelta

import pytest
from sqlalchemy import func, select

from milepost.errors import JobNotFound
from milepost.jobs.outcomes import Completed
from milepost.jobs.progress import Progress
from milepost.jobs.states import FINAL, UNFINISHED, JobState
from milepost.store import logs, progress, pruning, tables
from milepost.store.logs import LogLine
from tests.store.store import HOUR, MINUTE, SECOND, Store, claimed_as

S = JobState
AFTER_AN_HOUR = dict.fromkeys(FINAL, HOUR)


def prune(store: Store, keep_for: dict[JobState, timedelta], *, limit: int = 500) -> int:
    with store.database.begin() as conn:
        return pruning.prune(conn, store.clock, keep_for=keep_for, limit=limit)


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_finished_job_is_kept_for_its_time(store: Store, state: JobState) -> None:
    job_id = store.job_in(state)
    store.clock.turn(HOUR)
    assert prune(store, AFTER_AN_HOUR) == 0
    store.clock.turn(SECOND)
    assert prune(store, AFTER_AN_HOUR) == 1
    with pytest.raises(JobNotFound):
        store.find(job_id)


@pytest.mark.parametrize("state", sorted(UNFINISHED))
def test_promise_1_an_unfinished_job_is_never_pruned(store: Store, state: JobState) -> None:
    job_id = store.job_in(state)
    store.clock.turn(1000 * HOUR)
    assert prune(store, dict.fromkeys(JobState, timedelta(0))) == 0
    assert store.state(job_id) is state


def test_a_retried_job_is_not_finished_any_more(store: Store) -> None:
    job_id = store.job_in(S.FAILED)
    store.clock.turn(2 * HOUR)
    store.retry(job_id)
    assert prune(store, AFTER_AN_HOUR) == 0


def test_each_final_state_has_its_own_time(store: Store) -> None:
    completed, failed = store.job_in(S.COMPLETED), store.job_in(S.FAILED)
    cancelled = store.job_in(S.CANCELLED)
    store.clock.turn(2 * MINUTE)
    assert prune(store, {S.COMPLETED: MINUTE, S.FAILED: HOUR}) == 1
    assert store.state(failed) is S.FAILED
    assert store.state(cancelled) is S.CANCELLED
    with pytest.raises(JobNotFound):
        store.find(completed)


def test_all_that_hangs_on_a_job_goes_with_it_and_nothing_else(store: Store) -> None:
    old, kept = store.start(), store.start()
    with store.database.begin() as conn:
        for job in (old, kept):
            progress.report(conn, store.clock, {job.lease: Progress(1)}, checkpoints={})
            logs.write(conn, [LogLine(job.lease, store.clock.present, "info", "hello")])
    store.settle(claimed_as(old.lease), Completed("1"))
    store.clock.turn(2 * HOUR)
    store.settle(claimed_as(kept.lease), Completed("1"))

    assert prune(store, AFTER_AN_HOUR) == 1

    for table in (tables.attempts, tables.progress_points, tables.log_lines):
        [(count, job_id)] = store.rows(select(func.count(), func.max(table.c.job_id)))
        assert (count, job_id) == (1, kept.lease.job_id)


def test_a_limit_prunes_a_little_at_a_time(store: Store) -> None:
    for state in (S.COMPLETED, S.COMPLETED, S.FAILED, S.CANCELLED, S.CANCELLED):
        store.job_in(state)
    store.clock.turn(2 * HOUR)
    assert [prune(store, AFTER_AN_HOUR, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_an_id_is_never_given_twice(store: Store) -> None:
    newest = store.job_in(S.COMPLETED)
    store.clock.turn(2 * HOUR)
    assert prune(store, AFTER_AN_HOUR) == 1
    assert store.submit() > newest
