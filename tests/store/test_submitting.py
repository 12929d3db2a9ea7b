from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from milepost.errors import JobNotFound
from milepost.jobs.backoff import LONGEST_WAIT, Backoff
from milepost.jobs.names import LONGEST_NAME, LOWEST_PRIORITY
from milepost.jobs.states import JobState
from milepost.store import jobs, tables
from tests.store.store import HOUR, MINUTE, SECOND, Store, job_request, make_data_table, write_row

S = JobState


def test_a_job_is_stored_as_it_was_requested(store: Store) -> None:
    backoff = Backoff(first=SECOND, factor=3, longest=HOUR, jitter=0.5)
    job_id = store.submit(
        kind="work", args='{"shop":"Käse\\u0000"}', queue="sync", priority=7, max_attempts=4,
        backoff=backoff, time_limit=MINUTE, unique_key="k", tags=("a", "ü"), owner="me",
    )  # fmt: skip

    job = store.find(job_id)
    assert (job.kind, job.args, job.queue, job.priority) == (
        "work", '{"shop":"Käse\\u0000"}', "sync", 7,
    )  # fmt: skip
    assert (job.max_attempts, job.time_limit, job.unique_key) == (4, MINUTE, "k")
    assert (job.tags, job.owner) == (("a", "ü"), "me")
    assert (job.state, job.attempt, job.failures, job.rescues) == (S.AVAILABLE, 0, 0, 0)
    assert job.created_at == job.run_at == store.clock.present
    [claimed] = store.claim(queue="sync")
    assert (claimed.backoff, claimed.time_limit) == (backoff, MINUTE)


def test_what_was_not_said_stays_unsaid(store: Store) -> None:
    job = store.find(store.submit())
    assert (job.checkpoint, job.result, job.error, job.progress) == (None, None, None, None)
    assert (job.time_limit, job.unique_key, job.tags, job.owner) == (None, None, (), None)
    assert (job.started_at, job.finished_at, job.lease_expires_at) == (None, None, None)
    assert store.claim()[0].backoff is None


def test_many_jobs_get_ids_in_the_order_of_their_requests(store: Store) -> None:
    requests = [
        job_request(args=str(i), unique_key=f"key {i}" if i % 3 else None) for i in range(50)
    ]
    ids = [submitted.job_id for submitted in store.submit_many(*requests)]
    assert ids == sorted(set(ids))
    assert [store.find(job_id).args for job_id in ids] == [str(i) for i in range(50)]


def test_no_requests_store_nothing(store: Store) -> None:
    assert store.submit_many() == []


@pytest.mark.parametrize(
    ("when", "state"),
    [
        ({"delay": HOUR}, S.SCHEDULED),
        ({"delay": timedelta(0)}, S.AVAILABLE),
        ({"delay": timedelta(milliseconds=1)}, S.SCHEDULED),
        ({}, S.AVAILABLE),
    ],
)
def test_a_delay_makes_a_scheduled_job(store: Store, when: dict[str, Any], state: JobState) -> None:
    job = store.find(store.submit(**when))
    assert job.state is state
    shift = job.run_at - (store.clock.present + when.get("delay", timedelta(0)))
    assert abs(shift) <= timedelta(milliseconds=1)


def test_a_time_to_come_makes_a_scheduled_job_and_a_past_one_an_available_job(
    store: Store,
) -> None:
    later = store.clock.present + timedelta(microseconds=1)
    assert store.find(store.submit(run_at=later)).state is S.SCHEDULED
    assert store.find(store.submit(run_at=later)).run_at == later
    assert store.find(store.submit(run_at=store.clock.present)).state is S.AVAILABLE
    assert store.find(store.submit(run_at=store.clock.present - HOUR)).state is S.AVAILABLE


@pytest.mark.parametrize("year", [1, 99, 999, 1900])
def test_a_moment_long_ago_is_past(store: Store, year: int) -> None:
    long_ago = datetime(year, 1, 2, tzinfo=UTC)
    job = store.find(store.submit(run_at=long_ago))
    assert (job.state, job.run_at) == (S.AVAILABLE, long_ago)


@pytest.mark.parametrize(
    "limits",
    [
        {"priority": LOWEST_PRIORITY},
        {"queue": "q" * LONGEST_NAME, "unique_key": "ü" * LONGEST_NAME},
        {"time_limit": LONGEST_WAIT},
        {"time_limit": timedelta(microseconds=1)},
        {"time_limit": timedelta(seconds=1.001)},
        {"delay": timedelta(days=365 * 100)},
    ],
)
def test_options_that_a_request_takes_are_ones_that_the_store_takes(
    store: Store, limits: dict[str, Any]
) -> None:
    job = store.find(store.submit(**limits))
    # A row that a claim cannot read would keep every other one of its queue from being claimed.
    if "delay" not in limits:
        assert len(store.claim(queue=job.queue)) == 1
    for name, value in limits.items():
        if name == "time_limit":
            assert job.time_limit is not None
            assert abs(job.time_limit - value) <= timedelta(milliseconds=1)
            assert job.time_limit > timedelta(0)
        elif name != "delay":
            assert getattr(job, name) == value


def test_promise_1_a_job_submitted_in_a_transaction_of_the_callers_own_commits_with_it(
    store: Store,
) -> None:
    make_data_table(store.database)
    with store.database.engine.begin() as conn:
        write_row(conn, 1, 1)
        [submitted] = jobs.submit(conn, store.clock, [job_request()])
    assert store.state(submitted.job_id) is S.AVAILABLE


def test_a_job_submitted_in_a_transaction_that_rolls_back_was_never_there(store: Store) -> None:
    make_data_table(store.database)
    with store.database.engine.connect() as conn:
        transaction = conn.begin()
        write_row(conn, 1, 1)
        [submitted] = jobs.submit(conn, store.clock, [job_request(unique_key="k")])
        transaction.rollback()

    with pytest.raises(JobNotFound):
        store.find(submitted.job_id)
    assert store.claim() == []
    [again] = store.submit_many(job_request(unique_key="k"))
    assert not again.existed


def test_an_uncommitted_job_is_not_claimed(store: Store) -> None:
    if store.database.is_sqlite:
        # A claim would wait for the writer's end, which is the same promise kept by waiting.
        with store.database.engine.begin() as conn:
            jobs.submit(conn, store.clock, [job_request()])
            with store.database.read() as other:
                assert other.execute(select(func.count()).select_from(tables.jobs)).scalar() == 0
        return
    with store.database.engine.begin() as conn:
        jobs.submit(conn, store.clock, [job_request()])
        assert store.claim() == []
    assert len(store.claim()) == 1
