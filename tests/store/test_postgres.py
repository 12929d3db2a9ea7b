"""What PostgreSQL does about a process that is gone, or paused, inside a transaction."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from milepost.jobs.leases import Lease
from milepost.jobs.states import JobState
from milepost.store import checkpoints
from milepost.store.database import Database, open_database
from tests.store.store import HOUR, Store, TurnedClock

SOON = 30.0


def eventually(check: Callable[[], object]) -> object:
    deadline = time.monotonic() + SOON
    while not (found := check()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


@pytest.fixture
def store(postgres_store_url: str, clock: TurnedClock) -> Iterator[Store]:
    database = open_database(postgres_store_url, clock=clock)
    yield Store(database, clock)
    database.close()


@pytest.fixture
def hurried(postgres_store_url: str) -> Iterator[Database]:
    """The store, with a URL that is less patient with what stands idle in a transaction."""
    database = open_database(
        f"{postgres_store_url}?options=-cidle_in_transaction_session_timeout%3D300ms"
    )
    yield database
    database.close()


def pause_in_save(
    database: Database, lease: Lease, saved: threading.Event, told: threading.Event
) -> None:
    def save() -> None:
        with database.begin() as conn:
            checkpoints.save(conn, lease, "5")
            saved.set()
            told.wait(SOON)  # as a process does that was sent SIGSTOP here

    with pytest.raises(DBAPIError):
        save()


@pytest.mark.parametrize("how", ["begin", "sibling"])
def test_every_connection_is_protected(store: Store, how: str) -> None:
    database = store.database if how == "begin" else store.database.sibling()
    with database.begin() as conn:
        conn.execute(text("SELECT 1"))
    # Also after a rollback, and in a connection that was used before.
    for _ in range(2):
        with database.read() as conn:
            shown = {
                name: conn.execute(text(f"SHOW {name}")).scalar()
                for name in ("idle_in_transaction_session_timeout", "tcp_keepalives_idle")
            }
            conn.rollback()
        assert shown == {"idle_in_transaction_session_timeout": "1min", "tcp_keepalives_idle": "10"}
    if database is not store.database:
        database.close()


def test_promise_1_a_job_that_is_locked_by_a_paused_worker_is_rescued(
    store: Store, hurried: Database
) -> None:
    job = store.start()
    saved, told = threading.Event(), threading.Event()
    paused = threading.Thread(target=pause_in_save, args=(hurried, job.lease, saved, told))
    paused.start()
    assert saved.wait(SOON)
    store.clock.turn(HOUR)
    try:
        eventually(store.rescue)
        assert store.state(job.lease.job_id) is JobState.AVAILABLE
    finally:
        told.set()
        paused.join(SOON)
    assert store.find(job.lease.job_id).checkpoint is None
