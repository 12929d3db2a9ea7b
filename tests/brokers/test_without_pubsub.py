"""Redis that publishes nothing: signals are lost, and everything is only later."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from milepost import JobContext, Milepost, Settings, WorkerSettings, job
from milepost.settings import RedisSettings
from tests.servers import redis_server

SOON = timedelta(seconds=30)


@job("waits")
async def waits(ctx: JobContext[None], args: int) -> int:
    if args == 0:
        await asyncio.Event().wait()
    return args


@pytest.fixture
def mute() -> Iterator[RedisSettings]:
    with redis_server("--rename-command", "PUBLISH", "") as server:
        yield RedisSettings(url=server.url)


def application(tmp_path: Path, redis: RedisSettings) -> Milepost:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/store.db",
        redis=redis,
        worker=WorkerSettings(concurrency=4, cancel_grace=timedelta(seconds=0.1)),
    )
    return Milepost([waits], settings=settings, observers=())


async def test_promise_5_a_cancel_reaches_a_running_job_all_the_same(
    tmp_path: Path, mute: RedisSettings
) -> None:
    near, far = application(tmp_path, mute), application(tmp_path, mute)
    async with near, far, near.worker():
        handle = await far.submit(waits, 0)
        async for view in handle.watch():
            if view.attempt:
                break
        answer = await handle.cancel("enough", wait=SOON)
        assert answer.cancelled


async def test_jobs_and_results_come_all_the_same(tmp_path: Path, mute: RedisSettings) -> None:
    near, far = application(tmp_path, mute), application(tmp_path, mute)
    async with near, far, near.worker():
        assert await (await far.submit(waits, 7)).result(SOON) == 7
