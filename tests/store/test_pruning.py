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
from milepost.store import logs, progress, pruning, tables
from milepost.store.logs import LogLine
from tests.store.store import HOUR, KIND, MINUTE, SECOND, Store, claimed_as

S = JobState
AFTER_AN_HOUR = dict.fromkeys(FINAL, Keep(HOUR))


def finished(store: Store) -> set[int]:
    return {row.id for row in store.rows(select(tables.jobs.c.id))}


def end(store: Store, *, kind: str = KIND, **options: Any) -> int:
    """Complete a new job."""
    queue = options.setdefault("queue", f"of {kind}")
    job_id = store.submit(kind=kind, **options)
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
    pruned = []
    for _ in range(4):
        with store.database.begin() as conn:
            pruned.append(pruning.prune(conn, store.clock, past, limit=2))
    assert pruned == [2, 2, 1, 0]


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
    own = Retention(completed=Keep(), failed=Keep(age=MINUTE))
    store.declare({"one": own, "other": None})
    kept = end(store, kind="one")
    for kind, state in (("one", S.FAILED), ("one", S.CANCELLED), ("other", S.FAILED)):
        job = store.submit(kind=kind, queue="some")
        [claimed] = store.claim(kinds=(kind,), queue="some")
        failed = state is S.FAILED
        store.settle(claimed, Failed("no", recoverable=False) if failed else Cancelled())
    end(store, kind="other")
    store.clock.turn(2 * MINUTE)

    assert store.prune(AFTER_AN_HOUR) == 2
    store.clock.turn(HOUR)
    assert store.prune(AFTER_AN_HOUR) == 2
    assert finished(store) == {kept}
    assert job not in finished(store)


def test_the_newest_declaration_counts_and_says_nothing_of_other_kinds(store: Store) -> None:
    store.declare({"one": Retention(completed=Keep(count=5)), "other": Retention(failed=Keep())})
    store.declare({"one": Retention(completed=Keep(HOUR), failed=Keep(count=1))})
    assert store.rules() == {
        ("one", "completed", 3600, None), ("one", "failed", None, 1),
        ("one", "cancelled", None, 1), ("other", "failed", None, None),
        ("other", "cancelled", None, None),
    }  # fmt: skip
    store.declare({"one": None})
    assert {kind for kind, *_ in store.rules()} == {"other"}


def test_a_throttle_still_finds_its_job(store: Store) -> None:
    held = end(store, repeat=Repeat(f"{THROTTLED}{KIND}", HOUR))
    for _ in range(3):
        end(store)
    assert store.prune({S.COMPLETED: Keep(count=1)}) == 2
    assert held in finished(store)


def test_an_id_is_never_given_twice(store: Store) -> None:
    newest = store.job_in(S.COMPLETED)
    store.clock.turn(2 * HOUR)
    assert store.prune(AFTER_AN_HOUR) == 1
    assert store.submit() > newest
