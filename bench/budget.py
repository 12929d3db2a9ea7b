"""Workers that share one request budget: what their server sees, and what they get of it.

    python bench/budget.py [--workers 4] [--rate 10] [--seconds 30] [--burst 1]
        [--only store | redis]

Each worker is a process of its own with one job of its own, which reads a table without end. The
server counts, and refuses nothing.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from aiohttp import web
from tests.servers import redis_server

from milepost import Milepost, Settings, WorkerSettings
from milepost.connectors import check_source
from milepost.downloads import DownloadRecords, download_records
from milepost.settings import RedisSettings


async def endless(request: web.Request) -> web.StreamResponse:
    request.app["seen"].append(time.monotonic())
    page = int(request.query.get("page", 1))
    rows = [{"id": page * 10 + each} for each in range(10)]
    return web.json_response({"data": rows, "page": page, "has_more": True})


def start_worker(environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    command = [str(Path(sys.executable).parent / "milepost"), "worker"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


async def measure(given: argparse.Namespace, folder: Path, redis_url: str | None) -> None:
    app = web.Application()
    seen: list[float] = []
    app["seen"] = seen
    app.router.add_get("/{table}", endless)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    store = f"sqlite:///{folder}/store.db"
    redis = RedisSettings(url=redis_url)
    settings = Settings(database_url=store, redis=redis, worker=WorkerSettings(concurrency=1))
    environment = {**os.environ, "DATABASE_URL": store, "TOKEN": "one for all"}
    environment |= {"REDIS_URL": redis_url} if redis_url else {}
    environment |= {"MILEPOST_CONCURRENCY": "1"}
    async with Milepost(settings=settings, observers=()) as milepost:
        for number in range(given.workers):
            source = check_source(
                {
                    "kind": "http", "url": url, "tables": {f"t{number}": f"t{number}"},
                    "auth": {"type": "bearer", "token": "$TOKEN"},
                    "budget": {"requests": given.rate, "burst": given.burst},
                }
            )  # fmt: skip
            into = str(folder / f"into{number}.db")
            await milepost.submit(download_records, DownloadRecords(source=source, into=into))
        workers = [start_worker(environment) for _ in range(given.workers)]
        while len(seen) < given.workers * 2:
            await asyncio.sleep(0.05)
        began = time.monotonic()
        await asyncio.sleep(given.seconds)
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.wait()
    await runner.cleanup()
    times = [at - began for at in seen if began <= at < began + given.seconds]
    most = max(sum(at <= other < at + 1 for other in times) for at in times)
    allowed = given.rate * given.seconds
    where = "Redis" if redis_url else "the store (SQLite)"
    print(
        f"counted in {where}: {given.workers} workers, {given.rate} requests a second allowed, "
        f"burst {given.burst}: {len(times)} of {allowed} in {given.seconds} s "
        f"({len(times) / allowed:.1%}), at most {most} in any second"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rate", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--burst", type=int, default=1)
    parser.add_argument("--only", choices=["store", "redis"])
    given = parser.parse_args()
    if given.only != "redis":
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(measure(given, Path(folder), None))
    if given.only != "store":
        with tempfile.TemporaryDirectory() as folder, redis_server() as server:
            asyncio.run(measure(given, Path(folder), server.url))


if __name__ == "__main__":
    main()
