"""How long the queues were."""

from datetime import timedelta

from sqlalchemy import func, select

from milepost.jobs.states import JobState
from milepost.store import samples
from milepost.store.tables import queue_samples
from tests.store.store import HOUR, MINUTE, SECOND, Store, job_request


def take(store: Store) -> bool:
    with store.database.begin() as conn:
        return samples.take(conn, store.clock)


def over_time(store: Store, queue: str = samples.ALL) -> list[tuple[int | None, float | None]]:
    with store.database.read() as conn:
        found = samples.over_time(conn, store.clock, over=4 * MINUTE, slots=4, queue=queue)
    return [(each.available, each.oldest_wait) for each in found]


def kept(store: Store) -> int:
    with store.database.read() as conn:
        return conn.execute(select(func.count()).select_from(queue_samples)).scalar_one()


def test_depth_and_oldest_wait_are_kept_minute_by_minute(store: Store) -> None:
    assert take(store)
    store.submit(queue="a")
    store.clock.turn(MINUTE)
    store.submit(queue="a")
    store.submit(queue="b")
    store.submit(queue="b", delay=HOUR)
    store.job_in(JobState.RUNNING, queue="c")
    assert take(store)
    store.clock.turn(2 * MINUTE + SECOND)
    assert take(store)
    # Of the third minute nobody took one.
    assert over_time(store) == [(0, 0), (3, 60), (None, None), (3, 181)]
    assert over_time(store, "b") == [(0, 0), (1, 0), (None, None), (1, 121)]
    assert over_time(store, "c") == [(0, 0), (0, 0), (None, None), (0, 0)]
    with store.database.read() as conn:
        found = samples.of_queues(conn, store.clock, ["a", "c"], over=HOUR, slots=60)
    assert found.keys() == {"a"}


def test_of_a_minute_the_first_sample_is_kept(store: Store) -> None:
    assert take(store)
    store.submit()
    store.clock.turn(SECOND)
    assert not take(store)
    assert over_time(store)[-1] == (0, 0)


def test_promise_8_of_many_queues_the_longest_are_kept_and_the_rest_together(store: Store) -> None:
    store.submit_many(*(job_request(queue=f"q{n}") for n in range(50)), job_request(queue="q7"))
    assert take(store)
    assert kept(store) == samples.LONGEST + 1
    assert over_time(store)[-1][0] == 51
    assert over_time(store, "q7")[-1][0] == 2


def test_old_samples_are_forgotten(store: Store) -> None:
    for _ in range(2):
        take(store)
        store.clock.turn(samples.KEEP_FOR - timedelta(minutes=2))
        with store.database.begin() as conn:
            samples.forget(conn, store.clock)
    assert kept(store) == 1
