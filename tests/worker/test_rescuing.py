"""What a worker does about the jobs of others that are gone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from sqlalchemy import update

from milepost import Database
from milepost.brokers import Broker
from milepost.brokers.sql import SqlBroker
from milepost.jobs.leases import ClaimedJob
from milepost.jobs.requests import JobRequest
from milepost.signals import Signals, open_signals
from milepost.store import jobs, workers
from milepost.store.reading import find
from milepost.store.tables import jobs as table
from milepost.worker import rescuer
from milepost.worker.board import Board
from milepost.worker.identity import host_key
from milepost.worker.rescuer import Rescuer
from tests.worker.waiting import SOON, eventually

HERE = host_key()


@pytest.fixture
def signals(database: Database) -> Iterator[Signals]:
    signals = open_signals(database)
    yield signals
    signals.close()


@pytest.fixture
def rescuing(database: Database, signals: Signals) -> Rescuer:
    broker = SqlBroker(database, signals, kinds=(), worker_id="")
    return Rescuer.of_nobody(database, signals, cast(Broker, broker))


@pytest.fixture
def dead_pid() -> int:
    """The id of a process of this machine that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def start_worker(
    database: Database, *, pid: int, running: int, host_key: str = HERE
) -> list[ClaimedJob]:
    """Register a worker, of this machine if nothing else is said, with jobs that it runs."""
    record = workers.WorkerRecord(
        id=f"w{pid}", host="here", host_key=host_key, pid=pid, version="1",
        queues=("default",), kinds=("work",), concurrency=running,
    )  # fmt: skip
    asked = JobRequest(kind="work", args="{}", queue="default", priority=0, max_attempts=3)
    with database.begin() as conn:
        workers.register(conn, database.clock, record)
        jobs.submit(conn, database.clock, [asked] * running)
        return jobs.claim(
            conn, database.clock, queue="default", kinds=["work"], limit=running,
            lease_for=SOON, worker_id=record.id,
        )  # fmt: skip


def running(database: Database, claimed: list[ClaimedJob]) -> int:
    with database.read() as conn:
        return sum(find(conn, job.lease.job_id).state == "running" for job in claimed)


def known_to_have_stopped(database: Database, pid: int) -> bool:
    with database.read() as conn:
        return bool(workers.ended(conn, [f"w{pid}"]))


async def test_all_jobs_of_a_dead_worker_are_rescued_at_once_however_many(
    database: Database, rescuing: Rescuer, dead_pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescuer, "MOST_AT_ONCE", 2)
    claimed = start_worker(database, pid=dead_pid, running=5)
    await rescuing.tick()
    assert running(database, claimed) == 0
    assert known_to_have_stopped(database, dead_pid)


async def test_a_worker_whose_jobs_are_not_all_rescued_is_not_forgotten(
    database: Database, rescuing: Rescuer, dead_pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescuer, "MOST_AT_ONCE", 2)
    claimed = start_worker(database, pid=dead_pid, running=5)
    rescue, calls = jobs.rescue, iter(range(100))

    def falter(*args, **options):
        if next(calls) == 1:
            raise OSError("the connection dropped")
        return rescue(*args, **options)

    monkeypatch.setattr(jobs, "rescue", falter)
    with pytest.raises(OSError, match="dropped"):
        await rescuing.tick()
    assert running(database, claimed) == 3
    assert not known_to_have_stopped(database, dead_pid)
    await rescuing.tick()
    assert running(database, claimed) == 0


async def test_the_jobs_of_a_worker_that_lives_are_its_own(
    database: Database, rescuing: Rescuer, dead_pid: int
) -> None:
    start_worker(database, pid=dead_pid, running=1)
    claimed = start_worker(database, pid=os.getppid(), running=2)
    await rescuing.tick()
    assert running(database, claimed) == 2
    assert not known_to_have_stopped(database, os.getppid())


def expire(database: Database, by: timedelta) -> None:
    """Turn the clock on, as it looks to the leases."""
    with database.begin() as conn:
        conn.execute(update(table).values(lease_expires_at=datetime.now(UTC) - by))


async def test_a_clock_that_jumps_takes_no_job_from_a_worker_of_this_machine_that_lives(
    database: Database, rescuing: Rescuer, dead_pid: int
) -> None:
    claimed = start_worker(database, pid=os.getppid(), running=2)
    lost = start_worker(database, pid=dead_pid, running=1)
    expire(database, timedelta(hours=1))
    for _ in range(3):
        await rescuing.tick()
    assert running(database, claimed) == 2
    assert running(database, lost) == 0


async def test_a_worker_of_this_machine_that_lives_but_renews_no_more_loses_its_jobs(
    database: Database, signals: Signals
) -> None:
    claimed = start_worker(database, pid=os.getppid(), running=2)
    expire(database, timedelta(hours=1))
    broker = cast(Broker, SqlBroker(database, signals, kinds=(), worker_id=""))
    rescuing = Rescuer(
        Board(0), database, signals, broker,
        lease_for=timedelta(seconds=0.3), most_rescues=3, observe=lambda _: None,
    )  # fmt: skip
    await rescuing.tick()
    assert running(database, claimed) == 2

    async def rescued() -> bool:
        await rescuing.tick()
        return running(database, claimed) == 0

    await eventually(rescued)


async def test_an_expired_lease_of_another_machine_is_lost_at_once(
    database: Database, rescuing: Rescuer
) -> None:
    claimed = start_worker(database, pid=os.getppid(), running=2, host_key="another")
    expire(database, timedelta(seconds=1))
    await rescuing.tick()
    assert running(database, claimed) == 0
