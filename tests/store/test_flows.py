"""A job that waits for others: what their ends, and their returns, do to it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, select

from milepost.errors import JobNotFound, JobNotRetryable, LeaseLost, UniqueKeyTaken
from milepost.jobs.flows import FOR_OTHERS
from milepost.jobs.leases import JobId, Settlement
from milepost.jobs.outcomes import Cancelled, Completed, Failed, Outcome, Waiting
from milepost.jobs.retention import Keep
from milepost.jobs.states import FINAL, JobState
from milepost.store import children, flows, jobs, logs, reading
from milepost.store.flows import Moved
from milepost.store.tables import family, joins
from milepost.store.tables import jobs as table
from tests.store.family import (
    FOR_GOOD,
    add_children,
    all_counts,
    claim_one,
    counts,
    end,
    join,
    stop_all,
)
from tests.store.store import HOUR, MINUTE, SECOND, Store, job_request

S = JobState


@contextmanager
def statements(store: Store) -> Iterator[list[str]]:
    """Collect what is asked of the database meanwhile."""
    asked: list[str] = []

    def note(conn, cursor, statement, *_: object) -> None:
        asked.append(statement)

    event.listen(store.database.engine, "before_cursor_execute", note)
    yield asked
    event.remove(store.database.engine, "before_cursor_execute", note)


def test_it_begins_when_the_last_of_them_has_ended_and_never_by_the_clock(store: Store) -> None:
    first, second = store.submit(), store.submit()
    waiting = join(store, [first, second])
    assert store.find(waiting).waits

    end(store, first)
    store.clock.turn(1000 * HOUR)
    store.promote()
    with store.database.read() as conn:
        assert reading.next_run_at(conn) == FOR_OTHERS
    assert store.find(waiting).waits
    moved = Moved()
    with store.database.begin() as conn:
        [last] = jobs.claim(
            conn, store.clock, queue="default", kinds=["work"], limit=1, lease_for=MINUTE,
            worker_id="w",
        )  # fmt: skip
        jobs.settle(conn, store.clock, [Settlement(last, Completed("2"))], moved=moved)
    assert moved.available == {waiting: "joins"}
    found = store.find(waiting)
    assert (found.state, found.waits, found.run_at) == (S.AVAILABLE, False, store.clock.present)


def test_a_chain_is_run_link_by_link(store: Store) -> None:
    a = store.submit()
    b = join(store, [a])
    c = join(store, [b])
    for each, state in ((a, S.SCHEDULED), (b, S.SCHEDULED)):
        assert store.state(c) is state
        end(store, each)
    assert store.state(c) is S.AVAILABLE


def test_what_has_ended_before_is_waited_for_no_more(store: Store) -> None:
    done, broken = store.job_in(S.COMPLETED), store.job_in(S.FAILED)
    assert store.state(join(store, [done])) is S.AVAILABLE
    assert store.state(join(store, [done, broken])) is S.FAILED
    assert store.state(join(store, [done, broken], on_failure="go-on")) is S.AVAILABLE


def test_its_own_moment_still_counts(store: Store) -> None:
    child = store.submit()
    waiting = join(store, [child], delay=HOUR)
    due = store.clock.present + HOUR
    end(store, child)
    found = store.find(waiting)
    assert (found.state, found.run_at, found.waits) == (S.SCHEDULED, due, False)
    store.clock.turn(HOUR)
    store.promote()
    assert store.state(waiting) is S.AVAILABLE


def test_nobody_waits_for_a_job_that_is_not_there(store: Store) -> None:
    child = store.submit()
    with pytest.raises(JobNotFound, match="999"):
        join(store, [child, 999])
    assert [view.id for view in store.rows_of()] == [child]


def test_an_unfinished_job_with_its_key_waits_for_nothing_new(store: Store) -> None:
    first, second = store.submit(), store.submit()
    waiting = join(store, [first], unique_key="k")
    assert join(store, [second], unique_key="k") == waiting
    end(store, first)
    assert store.state(waiting) is S.AVAILABLE


def test_a_batch_of_children_is_one_statement_more_and_a_job_alone_none(store: Store) -> None:
    alone = [store.start() for _ in range(2)]
    with statements(store) as usual:
        store.settle_many(*(Settlement(job, Completed("1")) for job in alone))
    jobs_ = [store.start() for _ in range(20)]
    waiting = join(store, [*(job.lease.job_id for job in jobs_), store.submit()])
    with statements(store) as more:
        store.settle_many(*(Settlement(job, Completed("1")) for job in jobs_))
    assert len(more) == len(usual) + 1
    assert counts(store, waiting) == (1, 0)


ENDINGS: list[tuple[Outcome, str]] = [
    (FOR_GOOD, "which it waits for, failed: it broke"),
    (Cancelled(), "which it waits for, was cancelled"),
]


@pytest.mark.parametrize(("outcome", "why"), ENDINGS, ids=["failed", "cancelled"])
def test_it_fails_with_one_of_them_and_the_others_go_on(
    store: Store, outcome: Outcome, why: str
) -> None:
    first, second = store.submit(), store.submit()
    waiting = join(store, [first, second])
    above = join(store, [waiting])
    end(store, first, outcome)

    found = store.find(waiting)
    assert (found.state, found.finished_at) == (S.FAILED, store.clock.present)
    assert found.error == f"job {first} (work), {why}"
    assert store.find(above).error == (
        f"job {waiting} (work), which it waits for, failed: {found.error}"
    )
    stop_all(store)
    assert store.state(second) is S.AVAILABLE
    end(store, second)
    assert store.state(waiting) is S.FAILED


def test_the_others_are_cancelled_where_it_says_so(store: Store) -> None:
    first, second, running, shared = (store.submit() for _ in range(4))
    waiting = join(store, [first, second, running, shared], on_failure="cancel")
    other = join(store, [shared])
    claim_one(store, running)
    end(store, first, FOR_GOOD)
    moved = stop_all(store)

    assert store.state(waiting) is S.FAILED
    assert store.state(second) is S.CANCELLED
    assert store.find(second).cancel_reason == f"job {waiting}, which waits for it, has ended"
    assert (moved.ended, moved.told) == ([second], [running])
    assert store.find(running).cancel_requested_at is not None
    # Somebody else needs it.
    assert (store.state(shared), store.state(other)) == (S.AVAILABLE, S.SCHEDULED)


def test_it_begins_all_the_same_where_it_says_so(store: Store) -> None:
    first, second = store.submit(), store.submit()
    waiting = join(store, [first, second], on_failure="go-on")
    end(store, first, FOR_GOOD)
    assert store.state(waiting) is S.SCHEDULED
    store.cancel(second)
    assert store.state(waiting) is S.AVAILABLE
    assert counts(store, waiting) == (0, 2)


def test_a_child_that_is_rescued_to_its_end_counts_too(store: Store) -> None:
    child = store.start()
    waiting = join(store, [child.lease.job_id])
    store.clock.turn(HOUR)
    [rescued] = store.rescue(most_rescues=1)
    assert rescued.state is S.FAILED
    assert "died 1 times" in (store.find(waiting).error or "")


# A parent's cancel.


def test_promise_5_a_cancel_reaches_all_below_but_what_others_need(store: Store) -> None:
    leaf, shared, done = store.submit(), store.submit(), store.job_in(S.COMPLETED)
    middle = join(store, [leaf, shared])
    top = join(store, [middle, done])
    other = join(store, [shared])
    moved = Moved()
    with store.database.begin() as conn:
        assert jobs.cancel(conn, store.clock, top, "enough", moved=moved) is S.CANCELLED
    assert moved.stopping
    assert sorted(stop_all(store).ended) == sorted([middle, leaf])
    assert [store.state(each) for each in (middle, leaf)] == [S.CANCELLED] * 2
    assert [store.state(each) for each in (shared, other, done)] == [
        S.AVAILABLE, S.SCHEDULED, S.COMPLETED,
    ]  # fmt: skip
    # Now nobody needs it any more.
    store.cancel(other)
    stop_all(store)
    assert store.state(shared) is S.CANCELLED
    assert stop_all(store) == Moved()


def test_a_cancelled_parent_that_runs_takes_its_children_along_when_it_has_stopped(
    store: Store,
) -> None:
    parent = store.start()
    [child] = add_children(store, parent.lease)
    store.cancel(parent.lease.job_id)
    assert stop_all(store) == Moved()
    store.settle(parent, Cancelled())
    assert stop_all(store).ended == [child]


# Retries.


def test_a_retry_of_what_failed_lets_the_flow_go_on(store: Store) -> None:
    child, sibling = store.submit(), store.submit()
    waiting = join(store, [child, sibling])
    above = join(store, [waiting])
    end(store, child, FOR_GOOD)
    end(store, sibling)
    assert (store.state(waiting), store.state(above)) == (S.FAILED, S.FAILED)

    store.retry(child)
    for each in (waiting, above):
        found = store.find(each)
        assert (found.waits, found.error, found.finished_at) == (True, None, None)
        with store.database.read() as conn:
            [line] = logs.of_job(conn, each)
        assert line.message == f"waits again: job {child} was retried"
    end(store, child)
    end(store, waiting)
    assert store.state(above) is S.AVAILABLE


def test_it_waits_again_only_when_nothing_below_has_failed(store: Store) -> None:
    first, second = store.submit(), store.submit()
    waiting = join(store, [first, second])
    for each in (first, second):
        end(store, each, FOR_GOOD)
    store.retry(first)
    assert store.state(waiting) is S.FAILED
    store.retry(second)
    assert store.find(waiting).waits


def test_a_retry_of_the_one_that_waits_takes_along_what_failed_or_was_cancelled(
    store: Store,
) -> None:
    done, lost, cancelled = (store.submit() for _ in range(3))
    middle = join(store, [lost, cancelled], on_failure="cancel")
    top = join(store, [middle, done])
    end(store, done)
    end(store, lost, FOR_GOOD)
    stop_all(store)
    assert store.state(cancelled) is S.CANCELLED
    moved = Moved()
    with store.database.begin() as conn:
        jobs.retry(conn, store.clock, top, moved=moved)
    assert moved.available.keys() == {lost, cancelled}
    assert (store.find(top).waits, store.find(middle).waits) == (True, True)
    with store.database.read() as conn:
        [line] = logs.of_job(conn, lost)
    assert line.message == f"retried with job {top}; was failed: it broke"
    for each in (lost, cancelled, middle):
        end(store, each)
    assert store.state(top) is S.AVAILABLE


def test_a_retry_after_a_cancel_brings_the_whole_flow_back(store: Store) -> None:
    done, left = store.submit(), store.submit()
    top = join(store, [done, left])
    end(store, done)
    store.cancel(top)
    stop_all(store)
    store.retry(top)
    assert (store.find(top).waits, store.state(left)) == (True, S.AVAILABLE)
    end(store, left)
    assert store.state(top) is S.AVAILABLE


def test_a_retry_waits_for_nothing_where_all_has_ended_meanwhile(store: Store) -> None:
    child = store.start()
    waiting = join(store, [child.lease.job_id])
    store.cancel(waiting)
    assert store.settle(child, Completed("1")) is S.COMPLETED
    store.retry(waiting)
    assert store.state(waiting) is S.AVAILABLE


def test_promise_4_a_parent_that_has_run_stays_as_it_ended(store: Store) -> None:
    child = store.submit()
    waiting = join(store, [child], on_failure="go-on")
    end(store, child, FOR_GOOD)
    end(store, waiting)
    store.retry(child)
    end(store, child)
    assert store.state(waiting) is S.COMPLETED
    with pytest.raises(JobNotRetryable):
        store.retry(waiting)


def test_a_retry_is_refused_whole_where_a_key_is_taken(store: Store) -> None:
    child = store.submit(unique_key="k")
    waiting = join(store, [child])
    end(store, child, FOR_GOOD)
    store.submit(unique_key="k")
    with pytest.raises(UniqueKeyTaken, match=f"job {child} "):
        store.retry(waiting)
    assert (store.state(child), store.state(waiting)) == (S.FAILED, S.FAILED)
    assert all_counts(store) == {waiting: (0, 1)}


# Children of a job that runs.


def test_a_job_lets_go_until_its_children_have_ended_and_goes_on(store: Store) -> None:
    parent = store.start(owner="ann")
    store.save(parent.lease, "7")
    first, second = add_children(store, parent.lease, 2)
    assert store.find(first).owner == "ann"
    end(store, first)
    moved = Moved()
    with store.database.begin() as conn:
        states = jobs.settle(conn, store.clock, [Settlement(parent, Waiting())], moved=moved)
    assert states == {parent.lease: S.SCHEDULED}
    # Nobody has sent it yet.
    assert moved.available == {second: "default"}
    assert store.find(parent.lease.job_id).waits
    end(store, second)
    again = store.start_again(parent)
    assert (again.checkpoint, again.failures) == ("7", 0)


@pytest.mark.parametrize(
    ("outcome", "waiting", "state"),
    [
        (Completed("1"), Waiting(), S.AVAILABLE),
        (FOR_GOOD, Waiting(), S.FAILED),
        (FOR_GOOD, Waiting("cancel"), S.FAILED),
        (FOR_GOOD, Waiting("go-on"), S.AVAILABLE),
    ],
)
def test_children_may_end_before_it_waits_or_with_it(
    store: Store, outcome: Outcome, waiting: Waiting, state: JobState
) -> None:
    for together in (False, True):
        parent = store.start()
        [child] = [claim_one(store, each) for each in add_children(store, parent.lease)]
        settlements = [Settlement(parent, waiting), Settlement(child, outcome)]
        if together:
            states = store.settle_many(*settlements)
        else:
            store.settle_many(settlements[1])
            states = store.settle_many(settlements[0])
        assert states[parent.lease] is state
        assert store.state(parent.lease.job_id) is state


def test_one_that_waits_for_nobody_goes_on_at_once(store: Store) -> None:
    parent = store.start()
    assert store.settle(parent, Waiting()) is S.AVAILABLE


def test_a_cancelled_one_does_not_wait(store: Store) -> None:
    parent = store.start()
    [child] = add_children(store, parent.lease)
    store.cancel(parent.lease.job_id)
    assert store.settle(parent, Waiting()) is S.CANCELLED
    assert stop_all(store).ended == [child]


def test_promise_2_an_attempt_that_lost_its_lease_submits_no_children(store: Store) -> None:
    old = store.start()
    store.lose_worker()
    store.start_again(old)
    with pytest.raises(LeaseLost):
        add_children(store, old.lease)
    assert store.rows(select(family)) == []
    assert len(store.rows_of()) == 1


# History.


def test_children_are_kept_for_those_who_may_still_read_them(store: Store) -> None:
    def prune() -> int:
        store.clock.turn(2 * HOUR)
        return store.prune(dict.fromkeys(FINAL, Keep(HOUR)))

    first, second, third = (store.submit() for _ in range(3))
    waiting = join(store, [first, second])
    join(store, [third], on_failure="go-on")
    end(store, first)
    end(store, third, FOR_GOOD)
    assert prune() == 0
    end(store, second)
    end(store, waiting)
    assert prune() == 3
    assert [(row.child_id) for row in store.rows(select(family))] == [third]
    assert len(store.rows(select(joins))) == 1


def test_a_failed_parent_keeps_its_children_until_it_is_deleted_itself(store: Store) -> None:
    child, broken = store.submit(), store.submit()
    join(store, [child, broken])
    end(store, child)
    end(store, broken, FOR_GOOD)
    keep = {S.COMPLETED: Keep(SECOND), S.FAILED: Keep(3 * HOUR)}
    for _ in range(2):
        store.clock.turn(2 * HOUR)
        store.prune(keep)
        if _ == 0:
            assert len(store.rows_of()) == 3
    store.prune(keep)
    assert store.rows_of() == []
    assert store.rows(select(family)) == store.rows(select(joins)) == []


def test_what_an_older_worker_has_settled_is_found(store: Store) -> None:
    child, broken = store.submit(), store.submit()
    waiting, other = join(store, [child]), join(store, [broken, child])
    with store.database.begin() as conn:
        for each, state in ((child, S.COMPLETED), (broken, S.FAILED)):
            conn.execute(
                table.update()
                .where(table.c.id == each)
                .values(state=state, finished_at=store.clock.present)
            )
    with store.database.begin() as conn:
        stuck = children.stuck(conn, limit=10)
        moved = Moved()
        flows.recount(conn, store.clock, stuck, moved)
        assert children.stuck(conn, limit=10) == []
    assert (stuck, moved.available, moved.ended) == ([waiting, other], {waiting: "joins"}, [other])


def test_ten_thousand_children(store: Store) -> None:
    made = store.submit_many(*[job_request()] * 10_000)
    waiting = join(store, [each.job_id for each in made])
    with statements(store) as asked:
        ended = 0
        while claimed := store.claim(limit=500):
            store.settle_many(*(Settlement(job, Completed("1")) for job in claimed))
            ended += len(claimed)
            assert counts(store, waiting) == (10_000 - ended, 0)
    assert store.state(waiting) is S.AVAILABLE
    assert len(asked) < 20 * 10


def test_a_failed_attempt_that_runs_again_is_no_end(store: Store) -> None:
    child: JobId = store.submit()
    waiting = join(store, [child])
    end(store, child, Failed("once"))
    assert (store.state(child), store.find(waiting).waits) == (S.SCHEDULED, True)
