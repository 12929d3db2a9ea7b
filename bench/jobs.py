"""Jobs a second through one worker process, and how soon an idle worker picks one up.

    python bench/jobs.py [--jobs 20000] [--url postgresql://…] [--profile]

Without --url: a SQLite file in a temporary folder, then a private PostgreSQL server whose
commits reach the disk (fsync on), one after the other in this process.
"""

import argparse
import asyncio
import platform
import sqlite3
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.servers import postgres_server

from milepost import JobContext, Milepost, Settings, WorkerSettings, job
from milepost.jobs.events import AttemptFinished, Event
from milepost.jobs.states import JobState
from milepost.store import reading, schema
from milepost.worker.process import dedicate
from sides import spell, worker_process

CONCURRENCY = 400
CHUNK = 1000
SAMPLES = 300


@dataclass(frozen=True)
class Nothing:
    """A no-op's args."""

    number: int = 0


@job("no-op")
async def no_op(ctx: JobContext[None], args: Nothing) -> int:
    return args.number


class Finished:
    """Counts the attempts whose outcome stands in the store."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, event: Event) -> None:
        self.count += isinstance(event, AttemptFinished)


finished = Finished()


def application(url: str) -> Milepost:
    settings = Settings(database_url=url, worker=WorkerSettings(concurrency=CONCURRENCY))
    return Milepost([no_op], settings=settings, observers=[finished])


async def submit_one_by_one(milepost: Milepost, count: int) -> float:
    began = time.perf_counter()
    for number in range(count):
        await milepost.submit(no_op, Nothing(number))
    return count / (time.perf_counter() - began)


async def submit_many(milepost: Milepost, count: int) -> float:
    began = time.perf_counter()
    for start in range(0, count, CHUNK):
        await milepost.submit_many(no_op, [Nothing(n) for n in range(start, start + CHUNK)])
    return count / (time.perf_counter() - began)


async def run_all(milepost: Milepost) -> float:
    counted = await milepost.database.query(reading.counts)
    waiting = counted[("default", JobState.AVAILABLE)]
    done_before = counted.get(("default", JobState.COMPLETED), 0)
    enough = finished.count + waiting
    began = time.perf_counter()
    async with milepost.worker():
        while finished.count < enough:
            await asyncio.sleep(0.005)
        took = time.perf_counter() - began
    counted = await milepost.database.query(reading.counts)
    assert counted[("default", JobState.COMPLETED)] == done_before + waiting, counted
    return waiting / took


async def pickup(
    milepost: Milepost, *, samples: int = SAMPLES, rest: float = 0.01
) -> tuple[list[float], list[float]]:
    """To the start of the attempt, in milliseconds: from the call of submit, from its return.

    The start is the claim's own time. It may come before submit has returned: that counts as 0.
    """
    called, returned = [], []
    for number in range(samples):
        await asyncio.sleep(rest)
        before = time.time()
        handle = await milepost.submit(no_op, Nothing(number))
        submitted = time.time()
        await handle.result()
        view = await handle.view()
        assert view.started_at is not None
        started = view.started_at.timestamp()
        called.append((started - before) * 1000)
        returned.append(max(0.0, started - submitted) * 1000)
    return called, returned


def show(where: str, called: list[float], returned: list[float]) -> None:
    print(f"  pickup by a worker in {where}: {spell(returned)}; with submit: {spell(called)}")


async def measure(name: str, url: str, jobs: int) -> None:
    milepost = application(url)
    schema.migrate(milepost.database)
    async with milepost:
        print(f"\n{name}", flush=True)
        print(
            f"  submit one by one   {await submit_one_by_one(milepost, jobs // 10):>8,.0f} jobs/s"
        )
        print(
            f"  submit_many({CHUNK})   {await submit_many(milepost, jobs):>8,.0f} jobs/s",
            flush=True,
        )
        print(f"  run                 {await run_all(milepost):>8,.0f} jobs/s", flush=True)
        async with milepost.worker():
            show("this process", *await pickup(milepost))
        with worker_process(application, url):
            show("another process", *await pickup(milepost))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--url")
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    given = parser.parse_args()
    # As `milepost worker` does.
    dedicate()
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{CONCURRENCY} slots, {given.jobs:,} no-op jobs with their full history"
    )
    if given.url:
        asyncio.run(measure(given.url, given.url, given.jobs))
        return
    if given.only != "postgres":
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(measure("SQLite", f"sqlite:///{folder}/bench.db", given.jobs))
    if given.only != "sqlite":
        with postgres_server(durable=True) as server:
            asyncio.run(measure("PostgreSQL", server.create_database(), given.jobs))


if __name__ == "__main__":
    main()
