"""The web part: many listeners of one job, and a store of a million jobs.

    python bench/web.py [--jobs 1000000] [--listeners 500] [--seconds 20]

Listeners: a job reports 50 times a second, in a worker's process; 500 listeners follow it through a
web process, and the memory of that is looked at meanwhile. The same job runs without listeners too.
Million: the pages and lists of a web process on PostgreSQL, and whether their plans read all jobs.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import aiohttp
import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.servers import postgres_server

from milepost import Milepost, Settings
from milepost.store import schema

ROOT = Path(__file__).parent.parent
MILEPOST = [sys.executable, "-c", "from milepost.cli import main; main()"]
APP = "bench.web_jobs:milepost"

PATHS = {
    "jobs, newest": "/api/v1/jobs",
    "jobs, 10,000 pages on": "/api/v1/jobs?before=500000",
    "jobs, failed": "/api/v1/jobs?state=failed",
    "jobs, running": "/api/v1/jobs?state=running",
    "jobs, of a kind": "/api/v1/jobs?kind=rare",
    "jobs, of a queue": "/api/v1/jobs?queue=rare",
    "jobs, of an owner": "/api/v1/jobs?owner=rare",
    "jobs, completed of a kind": "/api/v1/jobs?kind=common&state=completed",
    "queues": "/api/v1/queues",
    "overview, an hour": "/api/v1/overview",
    "failures": "/api/v1/failures",
    "page: overview": "/",
    "page: jobs": "/jobs",
}


class Serving:
    """`milepost web` or `worker` as a process."""

    def __init__(self, part: str, url: str) -> None:
        self.process = subprocess.Popen(
            [*MILEPOST, part, *(["--port", "0"] if part == "web" else [])],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "DATABASE_URL": url, "MILEPOST_APP": APP, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self.url = ""
        if part == "web":
            assert self.process.stdout is not None
            self.url = self.process.stdout.readline().split()[-1]
        self.info = psutil.Process(self.process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)

    def megabytes(self) -> float:
        return float(self.info.memory_info().rss / 1e6)

    def cpu(self) -> float:
        spent = self.info.cpu_times()
        return float(spent.user + spent.system)


async def listen(session: aiohttp.ClientSession, url: str, heard: list[Any]) -> None:
    states, last = 0, {}
    async with session.get(url) as reply:
        async for line in reply.content:
            if line.startswith(b"data: ") and b'"state"' in line:
                states, last = states + 1, json.loads(line[6:])
            if line.startswith(b"event: end"):
                break
    heard.append((states, last["state"], last["progress"]["count"]))


async def listeners(url: str, count: int, seconds: int) -> None:
    print(f"\n{count} listeners of one job that reports 50 times a second, for {seconds} s")
    reports = 50 * seconds
    with Serving("web", url) as web, Serving("worker", url) as worker:
        for crowd in (0, count):
            connector = aiohttp.TCPConnector(limit=0)
            timeout = aiohttp.ClientTimeout(total=None)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                body = {"kind": "report", "args": reports}
                async with session.post(f"{web.url}/api/v1/jobs", json=body) as reply:
                    job_id = (await reply.json())["id"]
                heard: list[Any] = []
                address = f"{web.url}/api/v1/jobs/{job_id}"
                spent = worker.cpu()
                crowding = [
                    asyncio.create_task(listen(session, f"{address}/events", heard))
                    for _ in range(max(1, crowd))
                ]
                memory = []
                while not all(task.done() for task in crowding):
                    memory.append(web.megabytes())
                    await asyncio.sleep(0.5)
                async with session.get(address) as reply:
                    shown = await reply.json()
            last = {(state, done) for _, state, done in heard}
            states = statistics.median(each for each, _, _ in heard)
            quarter = max(1, len(memory) // 4)
            print(
                f"  {max(1, crowd):>4} listeners: the job took {shown['result']:.2f} s, worker "
                f"{worker.cpu() - spent:.1f} s CPU; each heard {states:.0f} states, all of them "
                f"last {sorted(last)}; web {memory[quarter]:.0f} MB after a quarter, "
                f"{memory[-1]:.0f} at the end"
            )


def fill(url: str, count: int) -> None:
    """Write jobs by one statement; few have failed, fewer are of a rare kind, most have ended."""
    milepost = Milepost(settings=Settings(database_url=url), observers=())
    schema.migrate(milepost.database)
    with milepost.database.begin() as conn:
        conn.exec_driver_sql(
            "INSERT INTO milepost_jobs (kind, queue, state, args, max_attempts, attempt, owner, "
            "error, created_at, run_at, started_at, finished_at, lease_expires_at, worker_id) "
            "SELECT CASE WHEN mod(n, 10000) = 7 THEN 'rare' ELSE 'common' END, "
            "CASE WHEN mod(n, 10000) = 7 THEN 'rare' ELSE 'default' END, "
            "CASE WHEN n <= 200 THEN 'running' WHEN mod(n, 1000) = 3 THEN 'failed' "
            "WHEN mod(n, 100) = 5 THEN 'available' ELSE 'completed' END, "
            "'{\"n\": 1}', 3, 1, CASE WHEN mod(n, 10000) = 7 THEN 'rare' ELSE 'usual' END, "
            "CASE WHEN mod(n, 1000) = 3 AND n > 200 THEN 'it broke at ' || mod(n, 7) END, "
            "at, at, at, CASE WHEN n > 200 AND mod(n, 100) <> 5 THEN at + interval '1 second' END, "
            "CASE WHEN n <= 200 THEN now() + interval '1 day' END, "
            "CASE WHEN n <= 200 THEN 'w' END "
            f"FROM (SELECT n, now() - ({count} - n) * interval '1 second' AS at "
            f"FROM generate_series(1, {count}) AS n) AS each"
        )
    with milepost.database.engine.connect() as conn:
        conn.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")
    asyncio.run(milepost.aclose())


async def million(url: str, count: int) -> None:
    print(f"\n{count:,} jobs in PostgreSQL: milliseconds, median of 20 (and the slowest)")
    with Serving("web", url) as web:
        async with aiohttp.ClientSession() as session:
            for name, path in PATHS.items():
                took = []
                for _ in range(20):
                    began = time.perf_counter()
                    async with session.get(web.url + path) as reply:
                        await reply.read()
                        assert reply.status == 200, (path, reply.status)
                    took.append(1000 * (time.perf_counter() - began))
                print(f"  {name:<28} {statistics.median(took):8.1f} ({max(took):.1f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--listeners", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=20)
    given = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(), postgres_server(durable=True) as server:
        if given.listeners:
            url = server.create_database()
            milepost = Milepost(settings=Settings(database_url=url), observers=())
            schema.migrate(milepost.database)
            asyncio.run(milepost.aclose())
            asyncio.run(listeners(url, given.listeners, given.seconds))
        if given.jobs:
            url = server.create_database()
            fill(url, given.jobs)
            asyncio.run(million(url, given.jobs))


if __name__ == "__main__":
    main()
