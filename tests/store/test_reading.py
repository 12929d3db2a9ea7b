from typing import Any

import pytest

from milepost.errors import JobNotFound
from milepost.jobs.leases import ClaimedJob
from milepost.jobs.outcomes import Cancelled, Completed, Failed, Interrupted, Snoozed
from milepost.jobs.progress import Progress
from milepost.jobs.states import JobState
from milepost.store import jobs, progress, reading
from milepost.store.filters import EVERY_JOB, JobFilter
from tests.store.store import HOUR, MINUTE, SECOND, Store

S = JobState


def recent(store: Store, meant: JobFilter = EVERY_JOB, **options: Any) -> list[int]:
    with store.database.read() as conn:
        return [job.id for job in reading.recent(conn, meant, **options)]


def test_a_job_that_is_not_there_is_told(store: Store) -> None:
    with pytest.raises(JobNotFound, match="999") as caught:
        store.find(999)
    assert caught.value.job_id == 999
    with store.database.read() as conn, pytest.raises(JobNotFound):
        jobs.state_of(conn, 999)


def test_recent_jobs_come_newest_first_page_by_page(store: Store) -> None:
    ids = [store.submit() for _ in range(5)]
    assert recent(store, limit=2) == [ids[4], ids[3]]
    assert recent(store, limit=2, before=ids[3]) == [ids[2], ids[1]]
    assert recent(store, before=ids[0]) == []


def test_recent_jobs_are_chosen_by_each_of_their_marks(store: Store) -> None:
    plain = store.submit()
    done = store.job_in(S.COMPLETED, kind="work", queue="q")
    keyed = store.submit(kind="other", unique_key="k")
    assert recent(store, JobFilter(states=[S.COMPLETED, S.FAILED])) == [done]
    assert recent(store, JobFilter(kind="other")) == [keyed]
    assert recent(store, JobFilter(queue="q")) == [done]
    assert recent(store, JobFilter(unique_key="k")) == [keyed]
    assert recent(store, JobFilter(states=[S.AVAILABLE], kind="work")) == [plain]


def test_jobs_are_counted_by_queue_and_state(store: Store) -> None:
    for queue, state in (("a", S.COMPLETED), ("b", S.AVAILABLE), ("b", S.AVAILABLE)):
        store.job_in(state, queue=queue)
    with store.database.read() as conn:
        assert reading.counts(conn) == {("a", S.COMPLETED): 1, ("b", S.AVAILABLE): 2}


def test_the_stores_time_is_its_clocks(store: Store) -> None:
    store.clock.turn(MINUTE)
    with store.database.read() as conn:
        assert reading.present(conn, store.clock) == store.clock.present


def test_whatever_changes_the_view_of_a_job_changes_its_mark(store: Store) -> None:
    job_id = store.submit(delay=HOUR, queue="q", max_attempts=5)
    seen: list[tuple[object, object]] = []

    def look() -> None:
        with store.database.read() as conn:
            view, mark = reading.find(conn, job_id), reading.marks(conn, [job_id])[job_id]
        if seen and view != seen[-1][0]:
            assert mark != seen[-1][1], view
        seen.append((view, mark))

    def claim() -> ClaimedJob:
        [job] = store.claim(queue="q")
        look()
        return job

    def report(job: ClaimedJob, told: Progress, checkpoint: str) -> None:
        with store.database.begin() as conn:
            progress.report(conn, store.clock, {job.lease: told}, checkpoints={})
        look()
        with store.database.begin() as conn:
            progress.report(conn, store.clock, {}, checkpoints={job.lease: checkpoint})
        look()

    look()
    for outcome in (Snoozed(HOUR), Failed("no"), Interrupted(), None, Failed("no more")):
        store.clock.turn(HOUR)
        store.promote()
        look()
        job = claim()
        store.clock.turn(SECOND)
        store.renew(job.lease)
        look()
        store.save(job.lease, f'"{outcome}"')
        look()
        report(job, Progress(len(seen)), f'"{len(seen)}"')
        if outcome is None:
            store.lose_worker()
        else:
            store.settle(job, outcome, retry_after=HOUR)
        look()
    store.clock.turn(HOUR)
    store.promote()
    job = claim()
    store.cancel(job_id, "enough")
    look()
    store.settle(job, Cancelled("enough"))
    look()
    store.retry(job_id)
    look()
    store.settle(claim(), Completed("1"))
    look()
    assert len({mark for _, mark in seen}) > 30
