"""Statements over many jobs lock them in one order, or two of them wait for each other."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from sqlalchemy import Connection, select, text

from milepost.jobs.leases import ClaimedJob, Settlement
from milepost.jobs.outcomes import Completed
from milepost.jobs.progress import Progress
from milepost.store import jobs, progress
from milepost.store.database import Database, open_database
from milepost.store.tables import jobs as table
from tests.store.store import MINUTE, Store, TurnedClock

PATIENCE = 30.0
Statement = Callable[[Connection, TurnedClock, Sequence[ClaimedJob]], object]

STATEMENTS: dict[str, Statement] = {
    "renew": lambda conn, clock, held: jobs.renew(
        conn, clock, [job.lease for job in held], lease_for=MINUTE
    ),
    "report": lambda conn, clock, held: progress.report(
        conn, clock, {job.lease: Progress(1) for job in held}, checkpoints={}
    ),
    "settle": lambda conn, clock, held: jobs.settle(
        conn, clock, [Settlement(job, Completed("1")) for job in held]
    ),
}


@pytest.fixture
def database(postgres_store_url: str, clock: TurnedClock) -> Iterator[Database]:
    database = open_database(postgres_store_url, clock=clock)
    yield database
    database.close()


def wait_for_a_lock(database: Database) -> None:
    """Return when a statement on the store waits for a lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with database.read() as conn:
            if conn.execute(waiting).scalar_one():
                return
        time.sleep(0.01)
    raise AssertionError("nothing waits for a lock")


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
@pytest.mark.parametrize("newest_first", [True, False], ids=["backwards", "in order"])
def test_a_statement_that_waits_for_a_job_holds_none_with_a_higher_id(
    store: Store, statement: Statement, newest_first: bool
) -> None:
    held = [store.start() for _ in range(5)]
    with store.database.begin() as conn:
        # The rows lie in the other order than their ids say.
        for job in reversed(held):
            conn.execute(table.update().where(table.c.id == job.lease.job_id).values(owner="me"))
    first, *others = [job.lease.job_id for job in held]

    def run() -> None:
        with store.database.begin() as conn:
            statement(conn, store.clock, held[::-1] if newest_first else held)

    running = threading.Thread(target=run)
    with store.database.begin() as conn:
        conn.execute(select(table.c.id).where(table.c.id == first).with_for_update())
        running.start()
        wait_for_a_lock(store.database)
        with store.database.begin() as other:
            free = other.execute(
                select(table.c.id).where(table.c.id.in_(others)).with_for_update(skip_locked=True)
            ).scalars()
            assert sorted(free) == others
    running.join(PATIENCE)
    assert not running.is_alive()
