from milepost.jobs.states import JobState
from milepost.store import reading
from tests.store.store import HOUR, MINUTE, SECOND, Store

S = JobState


def test_a_scheduled_job_becomes_available_when_its_time_has_come(store: Store) -> None:
    job_id = store.submit(delay=MINUTE, queue="sync")
    store.clock.turn(MINUTE - SECOND)
    assert store.promote() == []
    assert store.state(job_id) is S.SCHEDULED
    store.clock.turn(SECOND)
    assert store.promote() == ["sync"]
    assert store.state(job_id) is S.AVAILABLE
    assert store.promote() == []


def test_promote_names_a_queue_for_each_job(store: Store) -> None:
    for queue in ("a", "b", "a"):
        store.submit(delay=SECOND, queue=queue)
    store.clock.turn(MINUTE)
    assert sorted(store.promote()) == ["a", "a", "b"]


def test_a_limit_promotes_the_longest_due(store: Store) -> None:
    late, early = store.submit(delay=MINUTE), store.submit(delay=SECOND)
    store.clock.turn(HOUR)
    store.promote(limit=1)
    assert (store.state(early), store.state(late)) == (S.AVAILABLE, S.SCHEDULED)


def test_the_next_moment_to_look_is_the_earliest_one(store: Store) -> None:
    def next_run_at() -> object:
        with store.database.read() as conn:
            return reading.next_run_at(conn)

    assert next_run_at() is None
    store.submit(delay=HOUR)
    early = store.submit(run_at=store.clock.present + MINUTE)
    store.submit(run_at=store.clock.present - HOUR)
    assert next_run_at() == store.clock.present + MINUTE
    store.cancel(early)
    assert next_run_at() == store.clock.present + HOUR
