"""Rows a second of a download, and the share that its checkpoints cost.

    python bench/downloads.py [--records 200000] [--page 1000]

A local HTTP server in another process serves pages of 6 fields. Each destination is loaded from
empty, again unchanged, and by a bare loop (the same fetch and the same table writer, no job and
no checkpoint), in turn, in one run. The share of checkpoints is the time inside the statement that
saves them and the commits that only they need.
"""

import argparse
import asyncio
import multiprocessing
import platform
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import svcs
from tests.chaos import records as served
from tests.servers import postgres_server

from milepost import Milepost, Settings, WorkerSettings, snapshots
from milepost.connectors import Secrets, open_connector, source_from
from milepost.downloads import DownloadRecords, download_records
from milepost.store import checkpoints
from milepost.store.database import open_database
from milepost.worker.process import dedicate

spent = {"checkpoints": 0.0}


def timed(name: str) -> None:
    """Count the time spent in the statement that saves a checkpoint."""
    original = getattr(checkpoints, name)

    def counting(*args: object) -> object:
        began = time.perf_counter()
        try:
            return original(*args)
        finally:
            spent["checkpoints"] += time.perf_counter() - began

    setattr(checkpoints, name, counting)


def serve(records: int, page: int, pipe: "multiprocessing.connection.Connection") -> None:
    served.RECORDS, served.PAGE = records, page
    server = served.Server()
    pipe.send(server.start())
    pipe.recv()
    server.stop()


@asynccontextmanager
async def running(into: str, store: str) -> AsyncIterator[Milepost]:
    services = svcs.Registry()
    services.register_value(Secrets, Secrets({"INTO": into}))
    settings = Settings(database_url=store, worker=WorkerSettings(concurrency=1))
    milepost = Milepost(settings=settings, services=services, observers=())
    async with milepost, milepost.worker():
        yield milepost


async def download(url: str, into: str, store: str, page: int) -> float:
    async with running(into, store) as milepost:
        args = DownloadRecords(source=source_from(url, page_size=page), into="$INTO")
        began = time.perf_counter()
        handle = await milepost.submit(download_records, args)
        await handle.result()
        return time.perf_counter() - began


async def bare(url: str, into: str, page: int) -> float:
    database = open_database(into)
    connector = open_connector(source_from(url, page_size=page), Secrets({}))
    table = snapshots.TableSpec("records", ("id",))
    began = time.perf_counter()
    number = await database.run(snapshots.begin_pass, table)
    async with aclosing(connector.pages("records", after=None)) as pages:
        async for each in pages:
            await database.run(
                snapshots.write_page, table, each.records,
                pass_number=number, synced_at=datetime.now(UTC),
            )  # fmt: skip
    took = time.perf_counter() - began
    await connector.aclose()
    database.close()
    return took


async def measure(name: str, url: str, fresh: list[str], given: argparse.Namespace) -> None:
    print(f"\n{name}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/store.db"
        for what in ("first load", "second load, unchanged"):
            spent["checkpoints"] = 0.0
            took = await download(url, fresh[0], store, given.page)
            share = 100 * spent["checkpoints"] / took
            print(
                f"  {what:<24} {given.records / took:>9,.0f} rows/s, checkpoints {share:.1f} %",
                flush=True,
            )
    took = await bare(url, fresh[1], given.page)
    print(f"  {'bare loop, first load':<24} {given.records / took:>9,.0f} rows/s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--page", type=int, default=1000)
    given = parser.parse_args()
    dedicate()
    timed("save")
    timed("save_beside")
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{given.records:,} records in pages of {given.page:,}"
    )
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    server = spawn.Process(target=serve, args=(given.records, given.page, theirs))
    server.start()
    url = ours.recv()
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = [f"{folder}/a.db", f"{folder}/b.db"]
            asyncio.run(measure("SQLite", url, files, given))
        with postgres_server(durable=True) as postgres:
            databases = [postgres.create_database(), postgres.create_database()]
            asyncio.run(measure("PostgreSQL", url, databases, given))
    finally:
        ours.send("stop")
        server.join()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory of this process: {peak:,.0f} MB")


if __name__ == "__main__":
    main()
