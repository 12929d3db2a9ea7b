"""While an unfinished job has a unique key, submitting again returns that job."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from milepost.errors import UniqueKeyTaken
from milepost.jobs.states import FINAL, UNFINISHED, JobState
from milepost.store import jobs
from milepost.store.database import open_database
from tests.store.store import Store, job_request

S = JobState


@pytest.mark.parametrize("state", sorted(UNFINISHED))
def test_an_unfinished_job_keeps_its_key(store: Store, state: JobState) -> None:
    first = store.job_in(state, unique_key="k")
    [again] = store.submit_many(job_request(unique_key="k"))
    assert (again.job_id, again.existed) == (first, True)


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_finished_job_gives_its_key_back(store: Store, state: JobState) -> None:
    first = store.job_in(state, unique_key="k")
    [again] = store.submit_many(job_request(unique_key="k"))
    assert again.job_id != first
    assert not again.existed
    assert store.find(first).unique_key == "k"


def test_keys_are_kept_apart_across_kinds_and_queues(store: Store) -> None:
    first = store.submit(unique_key="a")
    assert store.submit(unique_key="b") != first
    assert store.submit(unique_key="a", kind="other", queue="other") == first


def test_one_key_twice_in_one_call_is_one_job(store: Store) -> None:
    held = store.submit(unique_key="held")
    submitted = store.submit_many(
        job_request(unique_key="k", args="1"),
        job_request(),
        job_request(unique_key="k", args="2"),
        job_request(unique_key="held"),
        job_request(),
        job_request(unique_key="k", args="3"),
    )

    ids = [each.job_id for each in submitted]
    assert [each.existed for each in submitted] == [False, False, True, True, False, True]
    assert ids[0] == ids[2] == ids[5]
    assert ids[3] == held
    assert len(set(ids)) == 4
    assert store.find(ids[0]).args == "1"


@pytest.mark.parametrize("key", ["a\x00b", "\ud800", "🚀", "'; --", " "])
def test_any_text_is_a_key(store: Store, key: str) -> None:
    first = store.submit(unique_key=key)
    [again] = store.submit_many(job_request(unique_key=key))
    assert (again.job_id, again.existed) == (first, True)


def test_threads_that_submit_one_key_at_once_get_one_job(store: Store, store_url: str) -> None:
    threads = 8
    databases = [open_database(store_url, clock=store.clock) for _ in range(2)]
    together = threading.Barrier(threads)

    def submit(number: int) -> list[jobs.Submitted]:
        together.wait(30)
        with databases[number % 2].begin() as conn:
            return jobs.submit(
                conn, store.clock, [job_request(unique_key=f"k{i}") for i in range(5)]
            )

    with ThreadPoolExecutor(threads) as pool:
        all_submitted = list(pool.map(submit, range(threads)))
    for database in databases:
        database.close()

    for same_key in zip(*all_submitted, strict=True):
        assert len({each.job_id for each in same_key}) == 1
        assert [each.existed for each in same_key].count(False) == 1
    assert len(store.claim()) == 5


def test_a_retry_waits_until_the_key_is_free(store: Store) -> None:
    first = store.job_in(S.FAILED, unique_key="k")
    second = store.submit(unique_key="k")

    with pytest.raises(UniqueKeyTaken, match="'k'") as caught:
        store.retry(first)
    assert caught.value.job_id == first
    assert store.state(first) is S.FAILED

    store.cancel(second)
    store.retry(first)
    assert store.submit(unique_key="k") == first


def test_a_refused_retry_leaves_the_callers_transaction_usable(store: Store) -> None:
    first = store.job_in(S.FAILED, unique_key="k")
    store.submit(unique_key="k")
    with store.database.begin() as conn:
        with pytest.raises(UniqueKeyTaken):
            jobs.retry(conn, store.clock, first)
        [submitted] = jobs.submit(conn, store.clock, [job_request()])
    assert store.state(submitted.job_id) is S.AVAILABLE
