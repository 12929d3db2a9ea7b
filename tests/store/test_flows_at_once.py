"""Flows while many settle, submit and cancel at once; and any flow, against a model of it."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, text

from milepost.jobs.leases import ClaimedJob, JobId, Settlement
from milepost.jobs.outcomes import ON_FAILURE, Cancelled, Completed, Outcome
from milepost.jobs.states import FINAL, JobState
from milepost.store import tables
from milepost.store.database import Database, open_database
from milepost.store.tables import jobs as table
from tests.store.family import FOR_GOOD, all_counts, claim_one, join, stop_all
from tests.store.fixtures import quick
from tests.store.store import Store, TurnedClock, job_request
from tests.store.test_locking import wait_for_a_lock

S = JobState
THREADS = 4


@pytest.fixture
def database(postgres_store_url: str, clock: TurnedClock) -> Iterator[Database]:
    """PostgreSQL: SQLite's writers come one after the other."""
    database = open_database(postgres_store_url, clock=clock)
    yield database
    database.close()


def settle(store: Store, job: ClaimedJob) -> None:
    store.settle(job, Completed("1"))


def at_once(*works: Callable[[], None]) -> None:
    """Run all of them at once; raises what one of them raised."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], None]) -> None:
        barrier.wait()
        work()

    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(run, work) for work in works]:
            done.result(120)


@pytest.mark.parametrize("seed", range(3))
def test_no_end_is_lost_and_nobody_waits_in_a_circle(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    made = [each.job_id for each in store.submit_many(*[job_request()] * 120)]
    claimed = store.claim(limit=120)
    waiting = [join(store, chance.sample(made, 40)) for _ in range(12)]
    above = [join(store, chance.sample(waiting, 4)) for _ in range(3)]
    late: list[JobId] = []
    chance.shuffle(claimed)

    def settle(part: list[ClaimedJob]) -> Callable[[], None]:
        def work() -> None:
            for start in range(0, len(part), 5):
                batch = part[start : start + 5]
                store.settle_many(*(Settlement(job, Completed("1")) for job in batch))

        return work

    def submit() -> None:
        late.extend(join(store, chance.sample([*made, *waiting], 10)) for _ in range(10))

    def cancel() -> None:
        store.cancel(waiting[0])

    at_once(*(settle(claimed[n::THREADS]) for n in range(THREADS)), submit, cancel)
    for job_id, (pending, _) in all_counts(store).items():
        children = select(tables.family.c.child_id).where(tables.family.c.job_id == job_id)
        left = store.rows(
            select(table.c.id).where(table.c.id.in_(children), table.c.state.not_in(FINAL))
        )
        assert pending == len(left)
        if not left:
            assert store.state(job_id) in (S.AVAILABLE, S.CANCELLED, S.FAILED)
    # A cancel comes first, or after the end of the last child.
    assert [store.state(each) for each in waiting[1:]] == [S.AVAILABLE] * 11
    assert len(store.rows(select(table.c.id).where(table.c.id.in_(late)))) == 10
    assert above


def test_two_who_settle_the_last_two_children_leave_the_parent_available(store: Store) -> None:
    for _ in range(10):
        children = [store.start() for _ in range(THREADS)]
        waiting = join(store, [each.lease.job_id for each in children])
        at_once(*(partial(settle, store, job) for job in children))
        assert store.state(waiting) is S.AVAILABLE
        assert all_counts(store)[waiting] == (0, 0)


def test_whoever_submits_waits_for_the_end_that_is_being_settled(store: Store) -> None:
    child = store.start()
    made: list[JobId] = []
    submitting = threading.Thread(
        target=lambda: made.append(join(store, [child.lease.job_id])), daemon=True
    )
    from milepost.store import jobs

    with store.database.begin() as conn:
        jobs.settle(conn, store.clock, [Settlement(child, Completed("1"))])
        submitting.start()
        wait_for_a_lock(store.database)
    submitting.join(30)
    assert store.state(made[0]) is S.AVAILABLE


def test_a_child_that_is_just_being_settled_is_passed_by_when_others_are_stopped(
    store: Store,
) -> None:
    child, other = store.start(), store.submit()
    waiting = join(store, [child.lease.job_id, other])
    store.cancel(waiting)
    from milepost.store import children
    from milepost.store.flows import Moved

    with store.database.begin() as conn:
        conn.execute(select(table.c.id).where(table.c.id == child.lease.job_id).with_for_update())
        for expected in (1, 0):
            with store.database.begin() as second:
                found = children.stop(second, store.clock, waiting, limit=9, moved=Moved())
            assert found == expected
        with store.database.read() as reader:
            assert children.stopping(reader, limit=9) == [waiting]
    assert stop_all(store).told == [child.lease.job_id]


# Any flow.


@pytest.fixture(scope="module")
def any_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    from milepost.store import schema

    clock = TurnedClock()
    path: Path = tmp_path_factory.mktemp("flows") / "a.db"
    database = quick(open_database(str(path), clock=clock))
    schema.migrate(database)
    yield Store(database, clock)
    database.close()


OUTCOMES: dict[str, Outcome] = {"done": Completed("1"), "failed": FOR_GOOD, "stopped": Cancelled()}
NODE = st.tuples(
    st.sets(st.integers(1, 6), max_size=4), st.sampled_from(ON_FAILURE), st.integers(0, 99)
)


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    nodes=st.lists(NODE, min_size=2, max_size=9), acts=st.lists(st.integers(0, 999), max_size=25)
)
def test_any_flow_ends_as_its_parts_and_policies_say(
    any_store: Store, nodes: list, acts: list[int]
) -> None:
    store = any_store
    with store.database.begin() as conn:
        for each in (tables.family, tables.joins, tables.attempts, tables.log_lines, table):
            conn.execute(delete(each))
        conn.execute(text("DELETE FROM sqlite_sequence"))
    made: list[JobId] = []
    after: dict[JobId, list[JobId]] = {}
    policy = {}
    for backwards, on_failure, _ in nodes:
        mine = sorted({made[-each] for each in backwards if each <= len(made)})
        new = store.submit(after=tuple(mine), on_failure=on_failure)
        after[new], policy[new] = mine, on_failure
        made.append(new)

    def check() -> None:
        states = {row.id: JobState(row.state) for row in store.rows(select(table))}
        for job_id, (pending, lost) in all_counts(store).items():
            ends = [states[each] for each in after[job_id]]
            assert pending == sum(state not in FINAL for state in ends)
            assert lost == sum(state in (S.FAILED, S.CANCELLED) for state in ends)
        for job_id in made:
            found = store.find(job_id)
            ends = [states[each] for each in after[job_id]]
            broken = policy[job_id] != "go-on" and not {S.FAILED, S.CANCELLED}.isdisjoint(ends)
            if found.waits:
                assert not broken
                assert not FINAL.issuperset(ends)

    for act in acts:
        job_id = made[act % len(made)]
        state = store.state(job_id)
        match act // len(made) % 6:
            case 0 | 1 | 2 if state is S.AVAILABLE:
                names = list(OUTCOMES)
                outcome = OUTCOMES[names[nodes[job_id - 1][2] % 5 % 3]]
                store.settle(claim_one(store, job_id), outcome)
            case 3:
                store.cancel(job_id)
                stop_all(store)
            case 4 if state in (S.FAILED, S.CANCELLED):
                store.retry(job_id)
        check()
    # Promise 1: whatever has been done, it comes to its end.
    for _ in made:
        for job_id in made:
            if store.state(job_id) is S.AVAILABLE:
                store.settle(claim_one(store, job_id), Completed("1"))
        stop_all(store)
        check()
    assert FINAL.issuperset(store.state(job_id) for job_id in made)
