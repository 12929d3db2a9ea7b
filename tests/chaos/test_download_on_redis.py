"""The same 200,000 records through BullMQ, with two workers that are killed in turn."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from milepost import JobHandle, Milepost, Settings, open_database, snapshots
from milepost.connectors import HttpSource
from milepost.downloads import Downloaded, DownloadRecords, download_records
from milepost.jobs.states import JobState
from milepost.settings import RedisSettings
from tests.chaos.downloading import KILLS
from tests.chaos.processes import WorkerProcess, until
from tests.chaos.records import PAGE, RECORDS, Server, record
from tests.servers import RedisServer, redis_server


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def test_promise_3_a_download_whose_workers_are_killed_again_and_again_has_every_record_once(
    postgres_store_url: str, redis: RedisServer, server: Server, tmp_path: Path
) -> None:
    settings = Settings(database_url=postgres_store_url, redis=RedisSettings(url=redis.url))
    milepost = Milepost(settings=settings, observers=())
    source = HttpSource(url=server.start(), page_size=PAGE, read_ahead=0)
    # Page by page, or more of them are in hand when a worker is killed.
    args = DownloadRecords(source=source, into=postgres_store_url, commit_within=0)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    workers: dict[str, WorkerProcess] = {}

    async def submit() -> JobHandle[Downloaded]:
        return await milepost.submit(download_records, args)

    def start_worker() -> None:
        number = len(workers)
        log = tmp_path / f"{number}.log"
        started = WorkerProcess(postgres_store_url, log, REDIS_URL=redis.url)
        workers[str(started.process.pid)] = started

    def look() -> Any:
        return asyncio.run(handle.view())

    handle = asyncio.run(submit())
    try:
        start_worker()
        start_worker()
        for _ in range(KILLS):
            # With the second page the first is saved: a job that kills three workers in a row
            # without a save between fails, and rightly.
            enough = server.asked.total() + chance.randint(2, 7)
            until(lambda enough=enough: server.asked.total() >= enough, "some more pages")
            view = look()
            assert view.state is not JobState.COMPLETED, "it was too quick for its killers"
            if view.state is JobState.RUNNING:
                # Its name ends with the process and a random part.
                workers[view.worker_id.split("-")[-2]].kill()
                start_worker()
        until(lambda: look().state is JobState.COMPLETED, "the download")
    finally:
        for each in workers.values():
            each.kill()
        asyncio.run(milepost.aclose())

    again = server.asked.total() - len(server.asked)
    print(f"{again} pages asked again after {KILLS} kills")
    assert set(server.asked) == set(range(RECORDS // PAGE))
    assert again <= KILLS
    database = open_database(postgres_store_url)
    with database.read() as conn:
        rows = snapshots.read_rows(conn, "records")
    database.close()
    assert len(rows) == RECORDS
    for index, row in enumerate(rows):
        assert row == record(index), row
