from typing import Any

import pytest

from milepost.errors import JobNotFound
from milepost.jobs.states import JobState
from milepost.store import jobs, reading
from tests.store.store import MINUTE, Store

S = JobState


def recent(store: Store, **options: Any) -> list[int]:
    with store.database.read() as conn:
        return [job.id for job in reading.recent(conn, **options)]


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
    assert recent(store, states=[S.COMPLETED, S.FAILED]) == [done]
    assert recent(store, kind="other") == [keyed]
    assert recent(store, queue="q") == [done]
    assert recent(store, unique_key="k") == [keyed]
    assert recent(store, states=[S.AVAILABLE], kind="work") == [plain]


def test_jobs_are_counted_by_queue_and_state(store: Store) -> None:
    for queue, state in (("a", S.COMPLETED), ("b", S.AVAILABLE), ("b", S.AVAILABLE)):
        store.job_in(state, queue=queue)
    with store.database.read() as conn:
        assert reading.counts(conn) == {("a", S.COMPLETED): 1, ("b", S.AVAILABLE): 2}


def test_the_stores_time_is_its_clocks(store: Store) -> None:
    store.clock.turn(MINUTE)
    with store.database.read() as conn:
        assert reading.present(conn, store.clock) == store.clock.present
