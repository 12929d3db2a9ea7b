"""Promises 2 and 3 where the data, and so the checkpoint, are in another database."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from milepost.errors import LeaseLost
from milepost.jobs.leases import Lease
from milepost.store import checkpoints, reading, schema
from milepost.store.database import Database, open_database
from milepost.store.tables import checkpoints as rows
from tests.store.store import Store, TurnedClock, make_data_table, write_row, written


@pytest.fixture(autouse=True)
def prepared(destination: Database) -> None:
    make_data_table(destination)
    with destination.begin() as conn:
        checkpoints.prepare(conn)


class Beside:
    """One store's checkpoints in a destination."""

    def __init__(self, destination: Database, store_id: str) -> None:
        self.destination = destination
        self.store_id = store_id

    def take_over(self, lease: Lease) -> str | None:
        with self.destination.begin() as conn:
            return checkpoints.take_over(conn, self.destination.clock, self.store_id, lease)

    def save(self, lease: Lease, number: int) -> None:
        with self.destination.begin() as conn:
            write_row(conn, lease.job_id, number)
            checkpoints.save_beside(conn, self.destination.clock, self.store_id, lease, str(number))

    def age(self, by: timedelta) -> None:
        """Let everything of this store have been saved so long ago."""
        with self.destination.begin() as conn:
            mine = rows.c.store_id == self.store_id
            saved_at = self.destination.clock.now(-by)
            conn.execute(update(rows).where(mine).values(saved_at=saved_at))

    def jobs(self) -> list[int]:
        with self.destination.read() as conn:
            mine = rows.c.store_id == self.store_id
            return sorted(conn.scalars(select(rows.c.job_id).where(mine)))


@pytest.fixture
def beside(store: Store, destination: Database) -> Beside:
    with store.database.read() as conn:
        return Beside(destination, reading.store_id(conn))


@pytest.fixture
def other_store(tmp_path: Path, clock: TurnedClock) -> Iterator[Store]:
    database = open_database(str(tmp_path / "other.db"), clock=clock)
    schema.migrate(database)
    yield Store(database, clock)
    database.close()


def test_promise_3_data_and_checkpoint_are_committed_together(beside: Beside) -> None:
    lease = Lease(1, 1)
    assert beside.take_over(lease) is None
    beside.save(lease, 1)
    beside.save(lease, 2)
    assert written(beside.destination, 1) == [1, 2]
    assert beside.take_over(Lease(1, 2)) == "2"


def test_promise_2_an_older_attempts_data_rolls_back(beside: Beside) -> None:
    old, new = Lease(1, 1), Lease(1, 2)
    beside.take_over(old)
    beside.save(old, 1)
    assert beside.take_over(new) == "1"

    with pytest.raises(LeaseLost, match="attempt 1 of job 1"):
        beside.save(old, 2)

    assert written(beside.destination, 1) == [1]
    beside.save(new, 2)
    assert beside.take_over(new) == "2"


def test_promise_2_an_older_attempt_cannot_take_the_job_back(beside: Beside) -> None:
    beside.take_over(Lease(1, 2))
    with pytest.raises(LeaseLost):
        beside.take_over(Lease(1, 1))
    beside.save(Lease(1, 2), 1)


def test_taking_over_twice_changes_nothing(beside: Beside) -> None:
    lease = Lease(1, 1)
    beside.take_over(lease)
    beside.save(lease, 1)
    assert beside.take_over(lease) == "1"
    beside.save(lease, 2)


def test_promise_2_who_never_took_over_writes_nothing(beside: Beside) -> None:
    with pytest.raises(LeaseLost):
        beside.save(Lease(1, 1), 1)
    assert written(beside.destination, 1) == []


def test_two_stores_in_one_destination_do_not_meet(beside: Beside, other_store: Store) -> None:
    with other_store.database.read() as conn:
        other = Beside(beside.destination, reading.store_id(conn))
    assert other.store_id != beside.store_id
    mine, theirs = Lease(1, 1), Lease(1, 5)
    beside.take_over(mine)
    other.take_over(theirs)

    beside.save(mine, 1)
    other.save(theirs, 9)

    assert beside.take_over(Lease(1, 2)) == "1"
    assert other.take_over(Lease(1, 6)) == "9"


def test_what_a_store_left_long_ago_goes_when_a_job_begins(
    beside: Beside, other_store: Store
) -> None:
    with other_store.database.read() as conn:
        other = Beside(beside.destination, reading.store_id(conn))
    for job in (1, 2, 3):
        beside.take_over(Lease(job, 1))
        beside.save(Lease(job, 1), job)
    other.take_over(Lease(1, 1))
    other.age(timedelta(days=91))
    beside.age(timedelta(days=89))
    beside.take_over(Lease(4, 1))
    assert beside.jobs() == [1, 2, 3, 4]

    beside.age(timedelta(days=91))
    assert beside.take_over(Lease(2, 2)) == "2"

    assert beside.jobs() == [2]
    assert other.jobs() == [1]
    with pytest.raises(LeaseLost):
        beside.save(Lease(1, 1), 1)


def test_promise_2_of_attempts_that_take_over_at_once_the_newest_keeps_it(beside: Beside) -> None:
    leases = [Lease(1, number) for number in range(1, 13)]

    def take_over(lease: Lease) -> Lease | None:
        try:
            beside.take_over(lease)
        except LeaseLost:
            return None
        return lease

    with ThreadPoolExecutor(6) as pool:
        taken = list(pool.map(take_over, leases))

    assert taken[-1] == leases[-1]
    for lease in leases[:-1]:
        with pytest.raises(LeaseLost):
            beside.save(lease, 1)
    beside.save(leases[-1], 1)


def test_the_table_is_made_by_many_at_once(destination_url: str) -> None:
    databases = [open_database(destination_url) for _ in range(6)]

    def prepare(database: Database) -> None:
        with database.begin() as conn:
            checkpoints.prepare(conn)

    with ThreadPoolExecutor(len(databases)) as pool:
        list(pool.map(prepare, databases))
    for database in databases:
        database.close()
