"""Promise 3: data saved with a checkpoint is committed if and only if the checkpoint is."""

import pytest

from milepost.errors import LeaseLost
from milepost.jobs.leases import ClaimedJob, Lease
from milepost.jobs.outcomes import Interrupted
from milepost.store import checkpoints
from tests.store.store import Store, make_data_table, write_row, written


@pytest.fixture(autouse=True)
def data_table(store: Store) -> None:
    make_data_table(store.database)


def write_and_save(store: Store, lease: Lease, number: int) -> None:
    with store.database.begin() as conn:
        write_row(conn, lease.job_id, number)
        checkpoints.save(conn, lease, str(number))


def overtaken(store: Store) -> tuple[ClaimedJob, ClaimedJob]:
    old = store.start()
    write_and_save(store, old.lease, 1)
    store.lose_worker()
    return old, store.start_again(old)


def test_promise_3_data_and_checkpoint_are_committed_together(store: Store) -> None:
    job = store.start()
    for number in (1, 2, 3):
        write_and_save(store, job.lease, number)
    assert store.find(job.lease.job_id).checkpoint == "3"
    assert written(store.database, job.lease.job_id) == [1, 2, 3]


def test_promise_3_when_the_lease_is_lost_the_data_rolls_back(store: Store) -> None:
    old, new = overtaken(store)
    with pytest.raises(LeaseLost, match=f"attempt 1 of job {old.lease.job_id} no longer holds"):
        write_and_save(store, old.lease, 2)
    assert written(store.database, old.lease.job_id) == [1]
    assert store.find(old.lease.job_id).checkpoint == new.checkpoint == "1"


def test_promise_3_when_the_data_cannot_be_written_the_checkpoint_rolls_back(store: Store) -> None:
    job = store.start()

    def broken() -> None:
        with store.database.begin() as conn:
            checkpoints.save(conn, job.lease, "2")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert store.find(job.lease.job_id).checkpoint is None


def test_promise_3_the_next_attempt_starts_from_the_last_committed_checkpoint(
    store: Store,
) -> None:
    old, new = overtaken(store)
    assert old.checkpoint is None
    assert new.checkpoint == "1"
    write_and_save(store, new.lease, 2)
    store.settle(new, Interrupted())
    assert store.start_again(new).checkpoint == "2"
