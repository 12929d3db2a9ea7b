"""What a PostgreSQL destination can do to a download: it costs an attempt at most, never a row."""

import contextlib
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from random import randbytes
from typing import Any

import psycopg
import pytest
import svcs
from sqlalchemy import text

from milepost import JobState
from milepost.connectors import Secrets
from milepost.downloads import DownloadRecords, download_records
from milepost.testing import JobRun, Sandbox
from tests.downloads.conftest import SIZE, Downloads
from tests.proxy import proxy
from tests.servers import PostgresServer
from tests.worker.waiting import wait_until

LARGEST = 17_000_000
"""Bytes of a server's file: more than a WAL segment, so that only tables grow beyond it."""


class OneJob:
    """One download into PostgreSQL, attempt after attempt."""

    def __init__(self, downloads: Downloads, url: str, sandbox: Sandbox) -> None:
        self.url = url
        self.into = url.replace("postgresql://", "postgresql+psycopg://")
        self._downloads = downloads
        self._sandbox = sandbox
        self._job = 0

    async def attempt(self) -> JobRun[Any]:
        """Run the next attempt, whatever it would wait for."""
        if not self._job:
            args = DownloadRecords(source=self._downloads.source, into=self.into, commit_within=0)
            self._job = await self._sandbox.submit(download_records, args)
        await self._sandbox.database.run(
            lambda conn: conn.execute(text("UPDATE milepost_jobs SET state = 'available'"))
        )
        await self._sandbox.attempt(download_records)
        return await self._sandbox.look(download_records, self._job)

    def options(self, *settings: str) -> None:
        """Let the job's connections have settings of their own."""
        self.into += "?options=" + "%20".join(f"-c%20{each}" for each in settings)

    async def fails(self, *said: str) -> None:
        """Run an attempt that the destination spoils, which costs one failure."""
        run = await self.attempt()
        assert (run.state, run.view.failures) == (JobState.SCHEDULED, 1), run.view.error
        assert run.view.error is not None
        assert "DestinationTroubled" in run.view.error
        for part in said:
            assert part in run.view.error

    async def completes(self, run: JobRun[Any] | None = None, *, failures: int = 0) -> Any:
        """Run the attempt that ends the job, unless it has, and compare table and source."""
        run = run or await self.attempt()
        assert run.state is JobState.COMPLETED, run.view.error
        assert run.view.failures == failures
        with psycopg.connect(self.url) as conn:
            found = conn.execute("SELECT id, n FROM items ORDER BY id").fetchall()
        assert found == [(row["id"], row["n"]) for row in self._downloads.shop.rows()]
        return run.result.tables["items"]


@pytest.fixture
async def job(downloads: Downloads, postgres_url: str) -> AsyncIterator[OneJob]:
    downloads.source = replace(downloads.source, read_ahead=0)
    services = svcs.Registry()
    services.register_value(Secrets, Secrets({}))
    async with Sandbox(services) as sandbox:
        yield OneJob(downloads, postgres_url, sandbox)


@contextlib.contextmanager
def small_disk(postgres: PostgresServer) -> Iterator[None]:
    """Let no new connection's process write beyond a file's first bytes."""
    # No whole number of blocks: the server writes a part of one, and takes that for a full disk.
    limit_files(postgres, str(LARGEST))
    try:
        yield
    finally:
        limit_files(postgres, "unlimited")


def limit_files(postgres: PostgresServer, size: str) -> None:
    assert postgres.process is not None
    subprocess.run(
        ["prlimit", f"--pid={postgres.process.pid}", f"--fsize={size}:"],
        user=postgres.user, check=True,
    )  # fmt: skip


async def test_a_full_disk_costs_a_failure_and_nothing_that_was_stored(
    downloads: Downloads, job: OneJob, postgres: PostgresServer
) -> None:
    # Random, or the server would compress it.
    rows = [{"id": n, "n": f"{n} {randbytes(LARGEST // 34).hex()}"} for n in range(20)]
    downloads.shop.ids = list(range(20))
    downloads.shop.wrong = {
        page: {"data": rows[(page - 1) * SIZE : page * SIZE]} for page in range(1, 5)
    }
    with small_disk(postgres):
        await job.fails("could not extend file", "wrote only")
    with psycopg.connect(job.url) as conn:
        [(stored,)] = conn.execute("SELECT count(*) FROM items")
    assert stored == 15

    assert (await job.completes(failures=1)).inserted == 20


@pytest.mark.parametrize("limit", ["statement_timeout", "lock_timeout"])
async def test_a_time_limit_of_the_database_costs_a_failure(
    downloads: Downloads, job: OneJob, limit: str
) -> None:
    job.options(f"{limit}=200")
    with other_session(job.url) as other:
        downloads.shop.after[3] = lambda: other.execute("LOCK TABLE items")
        await job.fails(f"canceling statement due to {limit.replace('_', ' ')}")

    table = await job.completes(failures=1)
    assert (table.records, table.inserted) == (30, 30)


async def test_a_deadlock_costs_a_failure(downloads: Downloads, job: OneJob) -> None:
    await stored_and_changed(downloads, job)
    job.options("deadlock_timeout=300")
    with other_session(job.url) as other:
        other.execute("SET deadlock_timeout = '1min'")
        other.execute("UPDATE items SET n = n WHERE id = 4")
        thread = once_blocked(other, lambda: other.execute("UPDATE items SET n = n WHERE id = 0"))
        await job.fails("deadlock detected")
        thread.join()

    assert (await job.completes(failures=1)).updated == 5


async def test_a_transaction_that_cannot_be_serialized_costs_a_failure(
    downloads: Downloads, job: OneJob
) -> None:
    await stored_and_changed(downloads, job)
    job.options("default_transaction_isolation=serializable")
    with other_session(job.url) as other:
        other.execute("UPDATE items SET n = n WHERE id = 4")
        thread = once_blocked(other, other.commit)
        await job.fails("could not serialize access")
        thread.join()

    assert (await job.completes(failures=1)).updated == 5


async def test_a_server_that_dies_and_starts_again_costs_nothing(
    downloads: Downloads, job: OneJob, postgres: PostgresServer
) -> None:
    def restart() -> None:
        postgres.stop()
        postgres.start()

    await stored_and_changed(downloads, job)
    with other_session(job.url) as other:
        other.execute("UPDATE items SET n = n WHERE id = 4")
        thread = once_blocked(other, restart)
        run = await job.attempt()
        thread.join()
    assert (run.state, run.view.failures) == (JobState.AVAILABLE, 0), run.view.error

    assert (await job.completes()).updated == 5


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_connection_that_is_lost_at_its_commit_costs_nothing(
    downloads: Downloads, job: OneJob, postgres: PostgresServer, arrives: bool
) -> None:
    """Whether the commit has arrived is read back from the checkpoint."""
    with proxy(postgres.port) as network:
        job.into = job.into.replace(f":{postgres.port}", f":{network.port}")
        downloads.shop.after[3] = lambda: network.break_at(b"COMMIT", arrives=arrives)
        run = await job.attempt()
        assert network.broke
        if not arrives:
            assert (run.state, run.view.failures) == (JobState.AVAILABLE, 0), run.view.error
        table = await job.completes(run if arrives else None)

    assert (table.records, table.inserted) == (30, 30)
    assert downloads.shop.served.count(3) == (1 if arrives else 2)


async def stored_and_changed(downloads: Downloads, job: OneJob) -> None:
    """Let the table be there, and its first page another one now."""
    downloads.into = job.into  # type: ignore[assignment]
    assert (await downloads.run()).state is JobState.COMPLETED
    downloads.shop.wrong[1] = {"data": [{"id": each, "n": -1} for each in range(SIZE)]}


@contextlib.contextmanager
def other_session(url: str) -> Iterator[psycopg.Connection]:
    # A server that dies takes it along.
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url) as conn:
        yield conn


def once_blocked(session: psycopg.Connection, act: Callable[[], object]) -> threading.Thread:
    """Do something, in a thread, as soon as another session waits for this one."""
    blocked = "SELECT 1 FROM pg_locks WHERE NOT granted AND %s = ANY (pg_blocking_pids(pid))"
    dsn, ours = session.info.dsn, (session.info.backend_pid,)

    def wait() -> None:
        with psycopg.connect(dsn, autocommit=True) as watching:
            wait_until(lambda: watching.execute(blocked, ours).fetchone() is not None)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread
