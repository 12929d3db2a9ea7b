from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from milepost.errors import JobNotFound
from milepost.jobs.outcomes import Cancelled, Completed, Failed
from milepost.jobs.progress import Progress
from milepost.jobs.repeats import THROTTLED, Repeat
from milepost.jobs.retention import Keep, Retention
from milepost.jobs.states import FINAL, UNFINISHED, JobState
from milepost.store import logs, progress, pruning, retention, submitting, tables
from milepost.store.logs import LogLine
from tests.store.store import HOUR, KIND, MINUTE, SECOND, Store, claimed_as, job_request

S = JobState
AFTER_AN_HOUR = dict.fromkeys(FINAL, Keep(HOUR))
DROP = dict.fromkeys(FINAL, Keep(timedelta(0)))
FOR_GOOD = Failed("no", recoverable=False)


def finished(store: Store) -> set[int]:
    return {row.id for row in store.rows(select(tables.jobs.c.id))}


def end(store: Store, *, kind: str = KIND, **options: Any) -> int:
    """Complete a new job."""
    queue = f"of {kind}"
    with store.database.begin() as conn:
        request = job_request(kind=kind, queue=queue, **options)
        job_id = submitting.submit(conn, store.clock, [request])[0].job_id
    [job] = store.claim(kinds=(kind,), queue=queue)
    assert store.settle(job, Completed("null")) is S.COMPLETED
    return job_id


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_finished_job_is_kept_for_its_time(store: Store, state: JobState) -> None:
    job_id = store.job_in(state)
    store.clock.turn(HOUR)
    assert store.prune(AFTER_AN_HOUR) == 0
    store.clock.turn(SECOND)
    assert store.prune(AFTER_AN_HOUR) == 1
    with pytest.raises(JobNotFound):
        store.find(job_id)


@pytest.mark.parametrize("state", sorted(UNFINISHED))
def test_promise_1_an_unfinished_job_is_never_pruned(store: Store, state: JobState) -> None:
    job_id = store.job_in(state)
    store.clock.turn(1000 * HOUR)
    assert store.prune(dict.fromkeys(JobState, Keep(timedelta(0)))) == 0
    assert store.state(job_id) is state


def test_a_retried_job_is_not_finished_any_more(store: Store) -> None:
    job_id = store.job_in(S.FAILED)
    store.clock.turn(2 * HOUR)
    store.retry(job_id)
    assert store.prune(AFTER_AN_HOUR) == 0


def test_each_final_state_has_its_own_time(store: Store) -> None:
    completed, failed = store.job_in(S.COMPLETED), store.job_in(S.FAILED)
    cancelled = store.job_in(S.CANCELLED)
    store.clock.turn(2 * MINUTE)
    assert store.prune({S.COMPLETED: Keep(MINUTE), S.FAILED: Keep(HOUR)}) == 1
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

    assert store.prune(AFTER_AN_HOUR) == 1

    for table in (tables.attempts, tables.progress_points, tables.log_lines):
        [(count, job_id)] = store.rows(select(func.count(), func.max(table.c.job_id)))
        assert (count, job_id) == (1, kept.lease.job_id)


def test_a_limit_prunes_a_little_at_a_time(store: Store) -> None:
    for _ in range(5):
        store.job_in(S.COMPLETED)
    store.clock.turn(2 * HOUR)
    with store.database.read() as conn:
        [past] = pruning.look(conn, store.clock, AFTER_AN_HOUR)
    deleted, last = [], None
    for _ in range(3):
        with store.database.begin() as conn:
            pruned = pruning.prune(conn, store.clock, past, after=last, limit=2)
        deleted.append(pruned.deleted)
        last = pruned.last
    assert deleted == [2, 2, 1]
    assert last is None


def test_what_may_not_go_is_passed_over(store: Store) -> None:
    held = [end(store, repeat=Repeat(f"{THROTTLED}{n}", 9 * HOUR)) for n in range(4)]
    plain = end(store)
    store.clock.turn(2 * HOUR)
    assert store.prune(AFTER_AN_HOUR, limit=2) == 1
    assert finished(store) == set(held)
    assert plain not in held


def test_a_job_that_was_retried_after_the_look_stays(store: Store) -> None:
    job_id = store.job_in(S.FAILED)
    store.clock.turn(2 * HOUR)
    with store.database.read() as conn:
        [past] = pruning.look(conn, store.clock, AFTER_AN_HOUR)
    store.retry(job_id)
    with store.database.begin() as conn:
        assert pruning.prune(conn, store.clock, past).deleted == 0
    assert store.state(job_id) is S.AVAILABLE


def test_the_newest_are_kept_and_of_each_kind_and_state_so_many(store: Store) -> None:
    first = [end(store, kind=kind) for kind in ("one", "other", "one")]
    lost = store.job_in(S.FAILED, kind=KIND)
    store.clock.turn(SECOND)
    later = [end(store, kind=kind) for kind in ("one", "other", "one")]

    assert store.prune({S.COMPLETED: Keep(count=2)}) == 2
    assert finished(store) == {first[1], lost, *later}
    assert store.prune({S.COMPLETED: Keep(count=1), S.FAILED: Keep(count=0)}) == 3
    assert finished(store) == {later[1], later[2]}


def test_of_those_that_ended_at_once_exactly_so_many_are_kept(store: Store) -> None:
    ids = [end(store) for _ in range(7)]
    assert store.prune({S.COMPLETED: Keep(count=3)}) == 4
    assert finished(store) == set(ids[4:])


def test_a_count_counts_when_jobs_ended_not_when_they_were_submitted(store: Store) -> None:
    slow = store.start()
    quick = store.start()
    for job in (quick, slow):
        store.clock.turn(SECOND)
        store.settle(job, Completed("1"))
    assert store.prune({S.COMPLETED: Keep(count=1)}) == 1
    assert finished(store) == {slow.lease.job_id}


def test_age_and_count_bound_together(store: Store) -> None:
    end(store)
    store.clock.turn(2 * HOUR)
    newer = [end(store) for _ in range(3)]
    assert store.prune({S.COMPLETED: Keep(HOUR, 3)}) == 1
    assert store.prune({S.COMPLETED: Keep(HOUR, 2)}) == 1
    assert finished(store) == set(newer[1:])


def test_a_kind_may_have_rules_of_its_own_whoever_prunes(store: Store) -> None:
    store.declare({"one": Retention(completed=Keep(), failed=Keep(age=MINUTE)), "other": None})
    kept = end(store, kind="one")
    for kind, outcome in (("one", FOR_GOOD), ("one", Cancelled()), ("other", FOR_GOOD)):
        store.submit(kind=kind, queue="some")
        [job] = store.claim(kinds=(kind,), queue="some")
        store.settle(job, outcome)
    end(store, kind="other")
    store.clock.turn(2 * MINUTE)

    assert store.prune(AFTER_AN_HOUR) == 2
    store.clock.turn(HOUR)
    assert store.prune(AFTER_AN_HOUR) == 2
    assert finished(store) == {kept}


FEW = Retention(completed=Keep(count=1))


def test_a_changed_rule_counts_once_it_has_stood_for_a_while(store: Store) -> None:
    store.declare({"one": FEW})
    for _ in range(3):
        end(store, kind="one")
    store.declare({"one": None})
    assert store.prune(DROP) == 0
    store.clock.turn(retention.STANDS_AFTER)
    assert store.prune(DROP) == 3


def test_while_programs_of_two_versions_declare_different_rules_nothing_goes(store: Store) -> None:
    for _ in range(3):
        end(store, kind="one")
    store.declare({"one": Retention(completed=Keep())})
    for _ in range(20):
        # One that was there before, and was started again.
        store.declare({"one": FEW})
        assert store.prune({}) == 0
        store.clock.turn(MINUTE)
        store.declare({"one": Retention(completed=Keep())})
        assert store.prune({}) == 0
        store.clock.turn(MINUTE)
    store.declare({"one": FEW})
    for _ in range(10):
        store.clock.turn(MINUTE)
        store.declare({"one": FEW})
    assert store.prune({}) == 2


def test_a_declaration_says_nothing_of_other_kinds(store: Store) -> None:
    store.declare({"one": FEW, "other": FEW})
    store.declare({"one": None})
    store.declare({"third": None})
    with store.database.read() as conn:
        assert retention.stored_rules(conn) == {"one": None, "other": FEW}


def test_a_throttle_finds_its_job_as_long_as_it_lasts(store: Store) -> None:
    with store.database.begin() as conn:
        request = job_request(repeat=Repeat(f"{THROTTLED}{KIND}", HOUR))
        [held] = submitting.submit(conn, store.clock, [request])
    [job] = store.claim()
    store.settle(job, Completed("1"))
    store.clock.turn(MINUTE)
    assert store.prune(DROP) == 0
    assert store.prune({S.COMPLETED: Keep(count=0)}) == 0
    store.clock.turn(HOUR)
    assert store.prune({S.COMPLETED: Keep(count=0)}) == 1
    assert held.job_id not in finished(store)


def test_who_has_just_begun_to_wait_for_a_job_still_finds_it(store: Store) -> None:
    ended = store.job_in(S.COMPLETED)
    store.submit(after=(ended,))
    with store.database.begin() as conn:
        # As where it came between the look at the job and its lock.
        assert pruning.forget(conn, store.clock, [ended]) == 0
    assert store.state(ended) is S.COMPLETED


def test_an_id_is_never_given_twice(store: Store) -> None:
    newest = store.job_in(S.COMPLETED)
    store.clock.turn(2 * HOUR)
    assert store.prune(AFTER_AN_HOUR) == 1
    assert store.submit() > newest
