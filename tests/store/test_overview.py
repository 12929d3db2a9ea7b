"""How the whole store is doing."""

from datetime import timedelta

from milepost.jobs.outcomes import Completed
from milepost.jobs.states import JobState
from milepost.store import overview, pauses, reading
from tests.store.store import MINUTE, SECOND, Store

S = JobState


def test_what_ended_is_counted_slot_by_slot(store: Store) -> None:
    store.job_in(S.COMPLETED)  # before the time that is looked at
    store.clock.turn(timedelta(hours=2))
    for minute, state in enumerate([S.COMPLETED, S.FAILED, S.COMPLETED, S.CANCELLED]):
        store.job_in(state, owner="ann" if minute < 2 else "bob")
        store.clock.turn(MINUTE)
    store.clock.turn(SECOND)

    def look(owner: str | None = None) -> overview.Overview:
        with store.database.read() as conn:
            return overview.look_back(
                conn, store.clock, over=timedelta(minutes=5), slots=5, owner=owner
            )

    found = look()
    slots = [(slot.completed, slot.failed, slot.cancelled) for slot in found.slots]
    # Each is at the very end of its slot: one second is left of it.
    assert slots == [(1, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (0, 0, 0)]
    assert found.success_rate is not None
    assert found.p50 is not None
    assert found.failed_by_kind == {"work": 1}
    assert [slot.longest_wait for slot in found.slots] == [0] * 5
    anns = look("ann")
    assert (anns.completed, anns.failed, anns.cancelled) == (1, 1, 0)


def test_the_longest_wait_is_that_before_the_last_attempt(store: Store) -> None:
    job_id = store.submit()
    store.clock.turn(timedelta(seconds=40))
    [claimed] = store.claim()
    store.clock.turn(SECOND)
    store.settle(claimed, Completed("null"))
    with store.database.read() as conn:
        found = overview.look_back(conn, store.clock, over=MINUTE, slots=1)
    assert (claimed.lease.job_id, found.slots[0].longest_wait) == (job_id, 40)


def test_nothing_has_no_rate_and_no_time(store: Store) -> None:
    with store.database.read() as conn:
        found = overview.look_back(conn, store.clock, over=MINUTE, slots=3)
    assert (found.completed, found.success_rate, found.p50, found.p95) == (0, None, None, None)
    assert len(found.slots) == 3


def test_queues_tell_what_waits_and_what_rests(store: Store) -> None:
    store.job_in(S.RUNNING, queue="a")
    for _ in range(2):
        store.job_in(S.AVAILABLE, queue="a")
    store.job_in(S.SCHEDULED, queue="b")
    store.job_in(S.COMPLETED, queue="c")
    with store.database.begin() as conn:
        pauses.pause(conn, store.clock, "d")
    with store.database.read() as conn:
        found = {each.name: each for each in overview.queues(conn)}
    assert {
        name: (each.scheduled, each.available, each.running, each.paused)
        for name, each in found.items()
    } == {"a": (0, 2, 1, False), "b": (1, 0, 0, False), "d": (0, 0, 0, True)}
    assert found["a"].oldest is not None
    assert found["b"].oldest is None


def test_failures_are_grouped_by_what_they_say(store: Store) -> None:
    ids = [store.job_in(S.FAILED, owner="ann" if n else "bob") for n in range(3)]
    with store.database.read() as conn:
        [group] = overview.failures(conn)
        [anns] = overview.failures(conn, owner="ann")
        assert reading.find(conn, ids[-1]).error == group.error
    assert (group.error, group.count, group.newest_id) == ("it broke", 3, ids[-1])
    assert anns.count == 2
