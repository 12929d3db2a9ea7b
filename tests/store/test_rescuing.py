from typing import Any

import pytest
from sqlalchemy import event

from milepost.jobs.leases import ClaimedJob, Lease
from milepost.jobs.outcomes import Completed, Failed, Outcome, Snoozed
from milepost.jobs.progress import Progress
from milepost.jobs.states import JobState
from milepost.store import attempts, jobs, progress
from milepost.store.database import open_database
from tests.store.store import HOUR, MINUTE, SECOND, Store, TurnedClock

S = JobState


def test_promise_1_a_job_whose_lease_expired_is_available_again(store: Store) -> None:
    job = store.start(worker="w1")
    store.clock.turn(MINUTE + SECOND)
    [rescued] = store.rescue()
    assert (rescued.lease, rescued.queue, rescued.worker_id) == (job.lease, job.queue, "w1")
    assert (rescued.state, rescued.why) == (S.AVAILABLE, "worker w1 let its lease expire")
    assert store.start_again(job).lease == Lease(job.lease.job_id, 2)


def test_a_lease_is_good_until_its_last_moment(store: Store) -> None:
    store.start()
    store.clock.turn(MINUTE)
    assert store.rescue() == []


def test_a_job_that_renews_is_never_rescued_however_long_it_runs(store: Store) -> None:
    job = store.start()
    for _ in range(50):
        store.clock.turn(MINUTE)
        store.renew(job.lease)
        assert store.rescue() == []
    assert store.state(job.lease.job_id) is S.RUNNING


def test_the_jobs_of_a_dead_worker_need_not_wait_for_their_leases(store: Store) -> None:
    dead, alive = store.start(worker="w1"), store.start(worker="w2")
    [rescued] = store.rescue(dead_workers=["w1", "w3"])
    assert (rescued.lease, rescued.why) == (dead.lease, "worker w1 is dead")
    assert store.state(alive.lease.job_id) is S.RUNNING


def test_the_worker_that_asks_is_alive(store: Store) -> None:
    own, other = store.start(), store.start()
    store.clock.turn(HOUR)
    assert [each.lease for each in store.rescue(spared=[own.lease])] == [other.lease]


def test_a_limit_rescues_some_and_leaves_the_rest_for_the_next_time(store: Store) -> None:
    leases = [store.start().lease for _ in range(3)]
    store.clock.turn(HOUR)
    assert [each.lease for each in store.rescue(limit=2)] == leases[:2]
    assert [each.lease for each in store.rescue(limit=2)] == leases[2:]


def test_the_history_shows_a_rescued_attempt(store: Store) -> None:
    job = store.start(worker="w1")
    store.lose_worker()
    with store.database.read() as conn:
        [attempt] = attempts.of_job(conn, job.lease.job_id)
    assert (attempt.outcome, attempt.worker_id) == ("rescued", "w1")
    assert attempt.error == "worker w1 let its lease expire"


def test_the_third_death_in_a_row_ends_the_job(store: Store) -> None:
    job = store.start()
    for _ in range(2):
        [rescued] = store.lose_worker()
        assert rescued.state is S.AVAILABLE
        store.start_again(job)
    [rescued] = store.lose_worker()
    assert rescued.state is S.FAILED
    found = store.find(job.lease.job_id)
    assert "died 3 times in a row" in str(found.error)
    assert found.finished_at == store.clock.present
    assert found.failures == 0


def test_a_save_between_shows_that_the_job_does_not_kill(store: Store) -> None:
    job = store.start()
    for step in range(10):
        store.save(Lease(job.lease.job_id, store.find(job.lease.job_id).attempt), str(step))
        store.lose_worker()
        store.start_again(job)
    assert store.find(job.lease.job_id).rescues == 1


def test_a_save_of_what_was_saved_before_shows_nothing(store: Store) -> None:
    job = store.start()
    for _ in range(2):
        store.save(Lease(job.lease.job_id, store.find(job.lease.job_id).attempt), "1")
        [rescued] = store.lose_worker()
        assert rescued.state is S.AVAILABLE
        store.start_again(job)
    store.save(Lease(job.lease.job_id, 3), "1")
    [rescued] = store.lose_worker()
    assert rescued.state is S.FAILED
    assert "nothing new saved between" in str(store.find(job.lease.job_id).error)


def test_a_checkpoint_in_another_database_counts_as_a_save(store: Store) -> None:
    job = store.start()
    store.lose_worker()
    again = store.start_again(job)
    with store.database.begin() as conn:
        progress.report(conn, store.clock, {again.lease: Progress(1)}, checkpoints={})
    assert store.find(job.lease.job_id).rescues == 1
    with store.database.begin() as conn:
        progress.report(conn, store.clock, {}, checkpoints={again.lease: "1"})
    assert store.find(job.lease.job_id).rescues == 0


def test_a_checkpoint_in_another_database_that_was_there_before_does_not(store: Store) -> None:
    job = store.start()
    with store.database.begin() as conn:
        progress.report(conn, store.clock, {}, checkpoints={job.lease: "1"})
    store.lose_worker()
    again = store.start_again(job)
    with store.database.begin() as conn:
        progress.report(conn, store.clock, {}, checkpoints={again.lease: "1"})
    assert store.find(job.lease.job_id).rescues == 1


@pytest.mark.parametrize("outcome", [Snoozed(SECOND), Failed("no")], ids=str)
def test_deaths_with_an_attempt_between_that_its_worker_survived_are_not_in_a_row(
    store: Store, outcome: Outcome
) -> None:
    job = store.start(max_attempts=100)
    current = job
    for _ in range(4):
        store.lose_worker()
        assert store.state(job.lease.job_id) is S.AVAILABLE
        current = store.start_again(job)
        store.settle(current, outcome)
        store.clock.turn(HOUR)
        store.promote()
        store.start_again(job)


def test_whether_there_is_something_to_rescue_is_known_without_writing(store: Store) -> None:
    def any_expired() -> bool:
        with store.database.read() as conn:
            return jobs.any_expired(conn, store.clock)

    store.job_in(S.COMPLETED)
    store.start()
    assert not any_expired()
    store.clock.turn(HOUR)
    assert any_expired()
    store.rescue()
    assert not any_expired()


@pytest.mark.parametrize("dead_workers", [[], ["w1", "w2"]], ids=["expired", "dead"])
def test_a_rescue_reads_the_jobs_with_a_lease_and_no_others(
    sqlite_store_url: str, clock: TurnedClock, dead_workers: list[str]
) -> None:
    database = open_database(sqlite_store_url, clock=clock)
    plans: list[str] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def explain(conn: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("WITH gone"):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in cursor.fetchall())

    Store(database, clock).rescue(dead_workers=dead_workers)
    database.close()
    [lookup] = [step for step in plans if "milepost_jobs_rescue" in step]
    assert lookup.startswith("SEARCH")
    assert not [step for step in plans if step.startswith("SCAN milepost_jobs")]


def work_off(store: Store, killer: int, *, by_id: list[int] | None = None) -> None:
    """Let workers claim what there is; one that gets the killer dies, the others do their work."""
    for number in range(20):
        worker = f"worker-{number}"
        claimed = store.claim(worker=worker) if by_id is None else claim_these(store, by_id, worker)
        if killer in [job.lease.job_id for job in claimed]:
            store.rescue(dead_workers=[worker])
        else:
            for job in claimed:
                store.settle(job, Completed("1"))


def claim_these(store: Store, job_ids: list[int], worker: str, **options: Any) -> list[ClaimedJob]:
    with store.database.begin() as conn:
        return jobs.claim_these(
            conn, store.clock, job_ids, kinds=["work"], lease_for=MINUTE, worker_id=worker,
            **options,
        )  # fmt: skip


@pytest.mark.parametrize("killer", [0, 2, 4])
@pytest.mark.parametrize("by_id", [False, True], ids=["claim", "claim_these"])
def test_a_job_that_kills_its_workers_takes_none_of_its_neighbours_with_it(
    store: Store, killer: int, by_id: bool
) -> None:
    submitted = [store.submit() for _ in range(5)]
    work_off(store, submitted[killer], by_id=submitted if by_id else None)
    states = [store.state(job_id) for job_id in submitted]
    assert states.pop(killer) is S.FAILED
    assert states == [S.COMPLETED] * 4


def suspects(store: Store, count: int) -> list[int]:
    """Jobs on which two workers in a row have died."""
    submitted = [store.submit() for _ in range(count)]
    for worker in ("dead-1", "dead-2"):
        assert len(store.claim(worker=worker)) == count
        store.rescue(dead_workers=[worker])
    return submitted


def test_a_worker_runs_one_suspect_at_a_time_beside_what_else_there_is(store: Store) -> None:
    first, second, third = suspects(store, 3)
    others = [store.submit() for _ in range(3)]
    claimed = [job.lease.job_id for job in store.claim(worker="w1", limit=3)]
    assert claimed == [first, *others[:2]]
    assert [job.lease.job_id for job in store.claim(worker="w1")] == others[2:]
    assert claim_these(store, [second, third], "w1") == []
    # Another worker may take one too.
    [job] = store.claim(worker="w2")
    assert job.lease.job_id == second
    store.settle(job, Completed("1"))
    assert [job.lease.job_id for job in store.claim(worker="w2")] == [third]


def test_a_suspect_that_has_saved_is_none_any_more(store: Store) -> None:
    second = suspects(store, 2)[1]
    [job] = store.claim(worker="w1")
    assert store.claim(worker="w1") == []
    store.save(job.lease)
    assert [each.lease.job_id for each in store.claim(worker="w1")] == [second]


def test_what_another_program_has_begun_is_claimed_whatever_it_is(store: Store) -> None:
    submitted = suspects(store, 3)
    assert len(claim_these(store, submitted, "bullmq", begun=True)) == 3
