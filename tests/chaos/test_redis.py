"""Promise 6: Redis fails in every way while thousands of jobs run, and each completes once.

`JOBS=10000` for more of them.
"""

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from milepost import open_database
from milepost.jobs.states import JobState
from milepost.redis import Link
from milepost.settings import RedisSettings
from milepost.store import schema, tables
from tests.chaos.fleet import JOBS, Fleet, fleet
from tests.chaos.processes import ROOT, SOON, WorkerProcess, environment, until
from tests.servers import redis_server

SUBMITTERS = 50


@pytest.fixture
def at_work(postgres_store_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with fleet(postgres_store_url, tmp_path) as made:
        yield made


def call(fleet: Fleet, *command: str) -> None:
    link = Link(RedisSettings(url=fleet.redis.url))
    link.call(*command)
    link.close()


def test_redis_is_emptied(at_work: Fleet) -> None:
    at = time.monotonic()
    call(at_work, "FLUSHALL")
    print(f"emptied: more jobs had completed after {at_work.recovered_in(at):.2f} s")
    at_work.assert_every_job_completed_once()


def test_redis_is_killed_and_comes_back_empty(at_work: Fleet) -> None:
    at = time.monotonic()
    at_work.redis.stop(signal.SIGKILL)
    at_work.redis.start()
    print(f"restarted empty: more jobs had completed after {at_work.recovered_in(at):.2f} s")
    at_work.assert_every_job_completed_once()


def test_redis_is_stopped_for_30_seconds(at_work: Fleet) -> None:
    at = time.monotonic()
    at_work.redis.stop(signal.SIGKILL)
    print(f"stopped: more jobs had completed after {at_work.recovered_in(at):.2f} s")
    back_at = at + 30
    until(lambda: time.monotonic() > back_at, "30 seconds")
    at_work.redis.start()
    at_work.assert_every_job_completed_once()
    # And all returns to normal by itself.
    until(
        lambda: all(worker.said("is back after") for worker in at_work.workers),
        "every worker to find Redis again",
    )


def test_the_network_to_redis_swallows_everything_for_10_seconds(at_work: Fleet) -> None:
    at = time.monotonic()
    at_work.network.swallow()
    print(f"swallowed: more jobs had completed after {at_work.recovered_in(at):.2f} s")
    until(lambda: time.monotonic() > at + 10, "10 seconds")
    at_work.network.pass_on()
    at_work.assert_every_job_completed_once()


def test_a_random_worker_is_killed_every_second(at_work: Fleet) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    done = threading.Event()

    def kill() -> None:
        seen = at_work.completed()
        while not done.wait(1):
            if at_work.completed() < seen + JOBS // 20:
                # A slow machine would do nothing else than start workers.
                continue
            seen = at_work.completed()
            living = [each for each in at_work.workers if each.process.poll() is None]
            chance.choice(living).kill()
            at_work.start_worker()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        at_work.assert_every_job_completed_once()
    finally:
        done.set()
        killer.join()
    print(f"{len(at_work.workers) - 4} workers were killed")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_promise_1_what_submitters_committed_before_they_were_killed_runs(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    sqlite = f"sqlite:///{tmp_path}/store.db"
    url = sqlite if kind == "sqlite" else request.getfixturevalue("postgres_url")
    database = open_database(url)
    schema.migrate(database)
    with contextlib.closing(database), redis_server() as redis:
        more = {"REDIS_URL": redis.url}
        subprocess.run(
            [sys.executable, "-m", "tests.chaos.submitter", str(SUBMITTERS)],
            cwd=ROOT, env={**environment(url), **more}, check=True, timeout=SOON,
        )  # fmt: skip

        def count(*states: JobState) -> int:
            with database.read() as conn:
                return conn.execute(
                    select(func.count()).where(tables.jobs.c.state.in_(states))
                ).scalar_one()

        assert count(JobState.AVAILABLE) == SUBMITTERS
        began = time.monotonic()
        worker = WorkerProcess(url, tmp_path / "log", **more)
        try:
            until(lambda: count(JobState.COMPLETED) == SUBMITTERS, "every committed job")
        finally:
            worker.kill()
    print(f"all had run {time.monotonic() - began:.1f} s after a worker was started")
