"""Jobs submitted in the caller's own transaction reach Redis when it has committed."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from milepost import JobContext, Milepost, Settings, WorkerSettings, job
from milepost.settings import RedisSettings


@job("double")
async def double(ctx: JobContext[None], args: int) -> int:
    return 2 * args


@pytest.fixture(params=["sqlite", "postgres"])
async def milepost(
    request: pytest.FixtureRequest, redis_settings: RedisSettings, tmp_path: Path
) -> AsyncIterator[Milepost]:
    sqlite = f"sqlite:///{tmp_path}/store.db"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_store_url")
    settings = Settings(
        database_url=url, redis=redis_settings, worker=WorkerSettings(concurrency=4)
    )
    async with Milepost([double], settings=settings, observers=()) as made:
        yield made


def entries(milepost: Milepost) -> int:
    assert milepost.link is not None
    return int(milepost.link.call("LLEN", f"{milepost.link.settings.prefix}:default:wait"))


async def until_entries(milepost: Milepost, count: int) -> None:
    deadline = time.monotonic() + 30
    while entries(milepost) != count:
        assert time.monotonic() < deadline, "the job never reached Redis"
        await asyncio.sleep(0.005)


async def test_it_is_sent_after_the_commit_and_not_before(milepost: Milepost) -> None:
    with milepost.database.engine.begin() as conn:
        milepost.submit_in(conn, double, 1)
        await asyncio.sleep(0)
        assert entries(milepost) == 0
    await until_entries(milepost, 1)


async def test_a_rolled_back_one_is_never_sent(milepost: Milepost) -> None:
    def roll_back() -> None:
        with milepost.database.engine.begin() as conn:
            milepost.submit_in(conn, double, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        roll_back()
    with milepost.database.engine.begin() as conn:
        milepost.submit_in(conn, double, 2)
    await until_entries(milepost, 1)


async def test_it_runs(milepost: Milepost) -> None:
    async with milepost.worker():
        with milepost.database.engine.begin() as conn:
            handle = milepost.submit_in(conn, double, 21)
        assert await handle.result() == 42
