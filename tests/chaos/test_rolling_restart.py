"""A deploy under load: every worker is restarted again and again, and no job notices."""

import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import func, select, text

from milepost.jobs.states import JobState
from milepost.store import tables
from tests.chaos.client import Client, client
from tests.chaos.processes import WorkerProcess, until
from tests.chaos.restarted import KINDS, Steps

JOBS = 500
WORKERS = 3
RESTARTS = 5


class Deploy:
    """One worker after the other under the same name, as a deploy leaves them behind."""

    def __init__(self, store: Client, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self.started: list[WorkerProcess] = []

    def start(self) -> WorkerProcess:
        new = WorkerProcess(
            self._store.url, self._folder / f"{len(self.started)}.log",
            MILEPOST_APP="tests.chaos.restarted:milepost", MILEPOST_CONCURRENCY="4",
        )  # fmt: skip
        self.started.append(new)
        return new

    def roll(self) -> float:
        """Restart it some times in the middle of its work; returns how long the stops took."""
        took = 0.0
        for _ in range(RESTARTS):
            old = self.started[-1]
            until(lambda old=old: self._jobs_of(old), "the worker to be at work")
            told = time.monotonic()
            old.signal(signal.SIGTERM)
            assert old.process.wait(30) == 0
            took += time.monotonic() - told
            self.start()
        return took

    def _jobs_of(self, worker: WorkerProcess) -> int:
        assert worker.process.poll() is None, worker.log.read_text()[-2000:]
        found = re.search(r"worker (\S+) started", worker.log.read_text())
        if found is None:
            return 0
        running = select(func.count()).where(
            tables.jobs.c.state == JobState.RUNNING, tables.jobs.c.worker_id == found[1]
        )
        with self._store.database.read() as conn:
            return conn.execute(running).scalar_one()


@contextmanager
def deploys(store: Client, folder: Path) -> Iterator[list[Deploy]]:
    made = []
    try:
        for name in range(WORKERS):
            own = folder / f"worker-{name}"
            own.mkdir()
            made.append(Deploy(store, own))
            made[-1].start()
        yield made
    finally:
        for each in made:
            each.started[-1].kill()


def submit(store: Client) -> dict[int, int]:
    """Submit the jobs, of 50 to 500 ms; returns how many steps each has."""
    chance = random.Random(7)
    steps = {}
    with store.database.begin() as conn:
        conn.execute(text("CREATE TABLE steps (job BIGINT, step INTEGER)"))
        for index in range(JOBS):
            args = Steps(number := chance.randint(3, 6), chance.uniform(0.05, 0.5) / number)
            handle = store.milepost.submit_in(conn, KINDS[index % len(KINDS)], args)
            steps[handle.job_id] = number
    return steps


def completed(store: Client) -> int:
    with store.database.read() as conn:
        state = tables.jobs.c.state
        counted = select(func.count()).where(state == JobState.COMPLETED)
        return conn.execute(counted).scalar_one()


def test_promise_3_workers_that_are_restarted_under_load_cost_no_job_anything(
    postgres_store_url: str, tmp_path: Path
) -> None:
    with client(postgres_store_url) as store:
        steps = submit(store)
        began = time.monotonic()
        with deploys(store, tmp_path) as all_of_them, ThreadPoolExecutor(WORKERS) as threads:
            stops = list(threads.map(Deploy.roll, all_of_them))
            rolled = time.monotonic() - began
            until(lambda: completed(store) == JOBS, f"all {JOBS} jobs")
            print(f"{JOBS} jobs in {time.monotonic() - began:.1f} s, restarts for {rolled:.1f} s")
        print(f"a stop took {sum(stops) / (WORKERS * RESTARTS):.2f} s on average")

        with store.database.read() as conn:
            saved = Counter(
                (row.job, row.step) for row in conn.execute(text("SELECT job, step FROM steps"))
            )
            jobs = tables.jobs.c
            costs = conn.execute(select(func.sum(jobs.failures), func.sum(jobs.rescues))).one()
            outcomes = Counter(conn.execute(select(tables.attempts.c.outcome)).scalars())
        assert saved == {
            (job_id, step): 1 for job_id, number in steps.items() for step in range(1, number + 1)
        }
        assert tuple(costs) == (0, 0)
        assert outcomes.pop("completed") == JOBS
        assert set(outcomes) == {"interrupted"}
        print(f"{outcomes['interrupted']} attempts were interrupted")
