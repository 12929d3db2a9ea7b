"""Four workers, their jobs, a Redis of their own and a network in between."""

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select

from milepost import Milepost, Settings
from milepost.jobs.states import JobState
from milepost.settings import RedisSettings
from milepost.store import reading, tables
from tests.chaos.app import Naps, nap
from tests.chaos.processes import WorkerProcess, until
from tests.proxy import Proxy, proxy
from tests.servers import RedisServer, redis_server

JOBS = int(os.environ.get("JOBS", "2000"))
WORKERS = 4
LEASE_FOR = "3s"


@dataclass
class Fleet:
    """The parts, for a test to break."""

    url: str
    redis: RedisServer
    network: Proxy
    folder: Path
    milepost: Milepost
    workers: list[WorkerProcess] = field(default_factory=list)

    def start_worker(self) -> WorkerProcess:
        # The workers reach Redis through the network; who submits and looks does not.
        started = WorkerProcess(
            self.url,
            self.folder / f"worker-{len(self.workers)}.log",
            REDIS_URL=f"redis://127.0.0.1:{self.network.port}",
            MILEPOST_CONCURRENCY="25",
            MILEPOST_LEASE_FOR=LEASE_FOR,
            # Where a worker is killed every second, some job meets three of them in a row.
            MILEPOST_MOST_RESCUES="100",
            MILEPOST_REDIS_ANSWER_WITHIN="500ms",
        )
        self.workers.append(started)
        return started

    def completed(self) -> int:
        """How many jobs the store says are completed."""
        with self.milepost.database.read() as conn:
            return conn.execute(
                select(func.count()).where(tables.jobs.c.state == JobState.COMPLETED)
            ).scalar_one()

    def recovered_in(self, since: float) -> float:
        """Seconds from a moment until some more jobs have completed than were on their way."""
        before = self.completed()
        until(lambda: self.completed() >= min(JOBS, before + 4 * 25 + 1), "the workers to go on")
        return time.monotonic() - since

    def assert_every_job_completed_once(self) -> None:
        until(lambda: self.completed() == JOBS, f"all {JOBS} jobs")
        with self.milepost.database.read() as conn:
            counts = reading.counts(conn)
            settled = conn.execute(
                select(tables.attempts.c.job_id).where(tables.attempts.c.outcome == "completed")
            ).scalars()
            times = Counter(settled)
            attempts = conn.execute(select(func.count()).select_from(tables.attempts)).scalar_one()
        assert counts == {("default", JobState.COMPLETED): JOBS}
        assert len(times) == JOBS
        assert max(times.values()) == 1
        print(f"{attempts - JOBS} attempts more than jobs")


@contextlib.contextmanager
def fleet(url: str, folder: Path) -> Iterator[Fleet]:
    """Submit the jobs and start the workers."""
    with redis_server() as redis, proxy(redis.port) as network:
        settings = Settings(database_url=url, redis=RedisSettings(url=redis.url))
        milepost = Milepost([nap], settings=settings, observers=())
        made = Fleet(url, redis, network, folder, milepost)

        async def submit() -> None:
            for start in range(0, JOBS, 1000):
                args = [
                    Naps(random.uniform(0.1, 0.6)) for _ in range(start, min(JOBS, start + 1000))
                ]
                await milepost.submit_many(nap, args)

        asyncio.run(submit())
        try:
            for _ in range(WORKERS):
                made.start_worker()
            until(lambda: made.completed() > JOBS // 20, "the workers to be at work")
            yield made
        finally:
            for worker in made.workers:
                worker.kill()
            asyncio.run(milepost.aclose())
