"""The same jobs on Redis with a password, TLS, Sentinel and as a cluster."""

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from milepost import JobContext, Milepost, Settings, WorkerSettings, job
from milepost.errors import ConfigurationError, RedisUnfit, SettingInvalid
from milepost.redis import Link, describe, open_client
from milepost.settings import RedisSettings
from milepost.store import reading
from tests.redis_kinds import with_cluster, with_password, with_sentinel, with_tls
from tests.servers import redis_server

SOON = timedelta(seconds=30)


@job("double")
async def double(ctx: JobContext[None], args: int) -> int:
    return 2 * args


def settings(tmp_path: Path, redis: RedisSettings) -> Settings:
    return Settings(
        database_url=f"sqlite:///{tmp_path}/store.db",
        redis=redis,
        worker=WorkerSettings(concurrency=4),
    )


async def assert_works(tmp_path: Path, redis: RedisSettings, *, away: bool = False) -> None:
    async with Milepost([double], settings=settings(tmp_path, redis), observers=()) as milepost:
        async with milepost.worker():
            handles = await milepost.submit_many(double, range(20))
            results = [await handle.result(SOON) for handle in handles]
        assert results == [2 * number for number in range(20)]
        assert milepost.link is not None
        assert milepost.link.is_away == away


async def test_a_password_is_given_and_never_shown(tmp_path: Path) -> None:
    with with_password() as redis:
        await assert_works(tmp_path, redis)
        assert "s3cret" not in describe(redis)
        assert "s3cret" not in repr(redis)


async def test_tls(tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        assert not os.environ.get("CI"), "openssl is missing"
        pytest.skip("openssl makes the certificate, and it is missing")
    with with_tls(tmp_path) as redis:
        await assert_works(tmp_path, redis)


async def test_any_node_of_a_cluster_leads_to_the_one_that_has_the_keys(tmp_path: Path) -> None:
    with with_cluster() as nodes:
        for number, redis in enumerate(nodes):
            folder = tmp_path / str(number)
            folder.mkdir()
            named = RedisSettings(url=redis.url, prefix=f"{{milepost-{number}}}")
            await assert_works(folder, named)


async def test_a_failover_by_sentinel_loses_no_job(tmp_path: Path) -> None:
    with with_sentinel(tmp_path) as trio:
        config = settings(tmp_path, trio.settings)
        milepost = Milepost([double], settings=config, observers=())
        async with milepost, milepost.worker():
            before = await milepost.submit(double, 1)
            assert await before.result(SOON) == 2
            trio.master.stop()
            during = await milepost.submit(double, 2)
            assert await during.result(SOON) == 4
            deadline = time.monotonic() + SOON.total_seconds()
            while milepost.link is None or milepost.link.is_away:
                assert time.monotonic() < deadline, "the failover is never noticed"
                await asyncio.sleep(0.05)
            after = await milepost.submit(double, 3)
            assert await after.result(SOON) == 6


# What must not be used.


@pytest.fixture
def link(redis_settings: RedisSettings) -> Iterator[Link]:
    link = Link(redis_settings)
    yield link
    link.close()


async def refused(tmp_path: Path, redis: RedisSettings) -> str:
    async with Milepost([double], settings=settings(tmp_path, redis), observers=()) as milepost:
        with pytest.raises(RedisUnfit) as caught:
            await milepost.worker().start()
        assert "\n" not in str(caught.value)
        return str(caught.value)


async def test_a_redis_that_evicts_is_refused(tmp_path: Path) -> None:
    with redis_server("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as server:
        said = await refused(tmp_path, RedisSettings(url=server.url))
    assert "evicts keys when it is full (maxmemory-policy allkeys-lru)" in said
    assert said.endswith("set it to noeviction")


async def test_a_replica_is_refused(tmp_path: Path) -> None:
    with redis_server("--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", "yes") as it:
        said = await refused(tmp_path, RedisSettings(url=it.url))
    assert "is a replica, which takes no writes: give the address of its master" in said


async def test_another_stores_prefix_is_refused(
    tmp_path: Path, redis_settings: RedisSettings
) -> None:
    await assert_works(tmp_path, redis_settings)
    other = tmp_path / "other"
    other.mkdir()
    milepost = Milepost([double], settings=settings(other, redis_settings), observers=())
    with pytest.raises(RedisUnfit, match="already serves another store .* MILEPOST_REDIS_PREFIX"):
        await milepost.submit(double, 1)
    with milepost.database.read() as conn:
        assert reading.counts(conn) == {}
    await milepost.aclose()


async def test_a_worker_starts_without_redis_and_takes_jobs_from_the_store(
    tmp_path: Path,
) -> None:
    nowhere = RedisSettings(url="redis://127.0.0.1:1", away_after=timedelta(0))
    await assert_works(tmp_path, nowhere, away=True)


@pytest.mark.parametrize(
    "url",
    ["http://localhost", "localhost:6379", "redis+sentinel://localhost:1", "redis://h:port"],
)
def test_a_bad_url_says_what_it_takes(url: str) -> None:
    with pytest.raises(SettingInvalid, match="REDIS_URL is '.*', but takes redis://HOST"):
        open_client(RedisSettings(url=url))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'milepost\[redis\]'"):
        open_client(RedisSettings(url="redis://localhost"))
