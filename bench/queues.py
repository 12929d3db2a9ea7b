"""Milepost on BullMQ beside BullMQ's own workers, for Python and for Node, in turn in one run.

    python bench/queues.py [--jobs 10000] [--rounds 3] [--idle 60] [--only run | cancel | pickup]

All use one Redis, started for this, and no-op handlers. Milepost's jobs also have their row, their
attempt and their outcome in PostgreSQL (fsync on), fenced; BullMQ's have Redis alone, which keeps
nothing on disk. Each side runs in a process of its own that does nothing else.
"""

import argparse
import asyncio
import contextlib
import importlib.metadata
import multiprocessing
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.servers import RedisServer, postgres_server, redis_server

from jobs import CHUNK, Finished, Nothing, no_op, pickup, show
from milepost import JobContext, Milepost, Settings, WorkerSettings, job, open_database
from milepost.redis import Link
from milepost.settings import RedisSettings
from milepost.store import schema
from milepost.worker.process import dedicate
from sides import in_a_process, spell

SLOTS = 400
THEIR_SLOTS = 100
NODE_WORKER = Path(__file__).parent / "node" / "worker.cjs"


def application(database_url: str, redis_url: str, *more: Any, slots: int = SLOTS) -> Milepost:
    settings = Settings(
        database_url=database_url,
        redis=RedisSettings(url=redis_url),
        worker=WorkerSettings(concurrency=slots),
    )
    return Milepost([no_op, *more], settings=settings, observers=[finished])


finished = Finished()


def milepost_runs(database_url: str, redis_url: str, jobs: int) -> float:
    async def main() -> float:
        async with application(database_url, redis_url) as milepost:
            for start in range(0, jobs, CHUNK):
                await milepost.submit_many(no_op, [Nothing(n) for n in range(start, start + CHUNK)])
            dedicate()
            began = time.perf_counter()
            async with milepost.worker():
                while finished.count < jobs:
                    await asyncio.sleep(0.005)
                return jobs / (time.perf_counter() - began)

    return asyncio.run(main())


def bullmq_runs(redis_url: str, jobs: int) -> float:
    from bullmq import Queue, Worker

    async def main() -> float:
        queue = Queue("plain", {"connection": redis_url})
        for start in range(0, jobs, CHUNK):
            await queue.addBulk(
                [
                    {"name": "no-op", "data": {"number": n}, "opts": {"removeOnComplete": 10}}
                    for n in range(start, start + CHUNK)
                ]
            )
        dedicate()
        done = asyncio.Event()
        left = jobs

        async def work(entry: Any, token: str) -> int:
            number: int = entry.data["number"]
            return number

        def count(*_: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                done.set()

        options = {"connection": redis_url, "concurrency": THEIR_SLOTS, "autorun": False}
        worker = Worker("plain", work, options)
        worker.on("completed", count)
        began = time.perf_counter()
        running = asyncio.ensure_future(worker.run())
        await done.wait()
        took = time.perf_counter() - began
        await worker.close(force=True)
        running.cancel()
        with contextlib.suppress(BaseException):
            await running
        await queue.close()
        return jobs / took

    return asyncio.run(main())


def node_runs(redis_url: str, jobs: int) -> float:
    from bullmq import Queue

    async def add() -> None:
        queue = Queue("node", {"connection": redis_url})
        for start in range(0, jobs, CHUNK):
            await queue.addBulk(
                [
                    {"name": "no-op", "data": {"number": n}, "opts": {}}
                    for n in range(start, start + CHUNK)
                ]
            )
        await queue.close()

    asyncio.run(add())
    done = subprocess.run(
        ["node", NODE_WORKER, redis_url, "bull", "node", str(jobs), str(THEIR_SLOTS)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return jobs / float(done.stdout)


def compare(jobs: int, rounds: int) -> None:
    sides: dict[str, list[float]] = {"Milepost on BullMQ, PostgreSQL": [], "bullmq for Python": []}
    if shutil.which("node"):
        sides["BullMQ for Node"] = []
    with redis_server() as redis, postgres_server(durable=True) as server:
        for _ in range(rounds):
            flush(redis)
            url = server.create_database()
            database = open_database(url)
            schema.migrate(database)
            database.close()
            figure = in_a_process(milepost_runs, url, redis.url, jobs)
            sides["Milepost on BullMQ, PostgreSQL"].append(figure)
            flush(redis)
            sides["bullmq for Python"].append(in_a_process(bullmq_runs, redis.url, jobs))
            if "BullMQ for Node" in sides:
                flush(redis)
                sides["BullMQ for Node"].append(in_a_process(node_runs, redis.url, jobs))
    theirs = statistics.median(sides["bullmq for Python"])
    for side, figures in sides.items():
        middle = statistics.median(figures)
        print(
            f"  {side:<32} {middle:>8,.0f} jobs/s, best {max(figures):>8,.0f}: "
            f"{middle / theirs:.1f} times bullmq for Python",
            flush=True,
        )


def flush(redis: RedisServer) -> None:
    link = Link(RedisSettings(url=redis.url))
    link.call("FLUSHALL")
    link.close()


async def measure_pickup(idle: float) -> None:
    with redis_server() as redis, postgres_server(durable=True) as server:
        milepost = application(server.create_database(), redis.url)
        schema.migrate(milepost.database)
        async with milepost, milepost.worker():
            show("this process", *await pickup(milepost))
            if idle:
                _, returned = await pickup(milepost, samples=5, rest=idle)
                figures = ", ".join(f"{each:.1f}" for each in returned)
                print(f"  after {idle:.0f} s of idleness, 5 samples: {figures} ms")


@job("waits")
async def waits(ctx: JobContext[None], args: Nothing) -> float:
    """Say when it was told to stop."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        loop.call_soon_threadsafe(told.set)

    ctx.cancel.on_stop(tell)
    await told.wait()
    noticed.append(time.time())
    ctx.cancel.raise_if_stopped()
    return 0.0


noticed: list[float] = []


async def measure_cancel(samples: int, *options: str) -> None:
    """From the call of cancel in one process to the handler's notice in another."""
    with redis_server(*options) as redis, postgres_server(durable=True) as server:
        url = server.create_database()
        milepost = application(url, redis.url, waits)
        schema.migrate(milepost.database)
        spawn = multiprocessing.get_context("spawn")
        near, far = spawn.Pipe()
        process = spawn.Process(target=_cancelled, args=(far, url, redis.url))
        process.start()
        near.recv()
        took = []
        async with milepost:
            for number in range(samples):
                handle = await milepost.submit(waits, Nothing(number))
                while (await handle.view()).started_at is None:
                    await asyncio.sleep(0.002)
                await asyncio.sleep(0.02)
                began = time.time()
                await handle.cancel()
                near.send("when?")
                took.append((near.recv() - began) * 1000)
        near.send("stop")
        process.join()
    blocked = ", publish and subscribe blocked" if options else ""
    print(f"  cancel to the handler's notice in another process{blocked}: {spell(took)}")


def _cancelled(pipe: Any, url: str, redis_url: str) -> None:
    async def main() -> None:
        milepost = application(url, redis_url, waits, slots=4)
        async with milepost, milepost.worker():
            pipe.send("ready")
            while await asyncio.to_thread(pipe.recv) == "when?":
                pipe.send(noticed[-1])

    asyncio.run(main())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=float, default=60)
    parser.add_argument("--only", choices=["run", "pickup", "cancel"])
    given = parser.parse_args()
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("bullmq", "redis")
    )
    print(f"\nBullMQ: {versions}, {given.jobs:,} no-op jobs, {SLOTS} slots, theirs {THEIR_SLOTS}")
    if given.only in (None, "run"):
        compare(given.jobs, given.rounds)
    if given.only in (None, "pickup"):
        asyncio.run(measure_pickup(given.idle))
    if given.only in (None, "cancel"):
        asyncio.run(measure_cancel(200))
        asyncio.run(measure_cancel(30, "--rename-command", "PUBLISH", ""))


if __name__ == "__main__":
    main()
