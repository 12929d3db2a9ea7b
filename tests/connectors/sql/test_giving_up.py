"""A query that takes long can be given up: it ends at the server too, and soon."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing

import pytest

from milepost.connectors.sql.crossing import Crossing
from milepost.errors import RetryableConnectorError
from tests.connectors.sql.bases import Base

SLOW = {
    "postgres": "CREATE VIEW slow AS SELECT 1 AS id FROM pg_sleep(30)",
    "mariadb": "CREATE VIEW slow AS SELECT sleep(30) AS id",
    "sqlite": "CREATE VIEW slow AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 "
    "FROM n LIMIT 1000000000) SELECT max(id) AS id FROM n",
}
RUNNING = {
    "postgres": "SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader'",
    "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE user = 'reader'",
}


async def test_a_query_that_is_given_up_ends_at_the_server(base: Base) -> None:
    base.run(SLOW[base.kind])
    async with base.opened(tables=["slow"]) as connector:
        for _ in range(2):
            reading = asyncio.ensure_future(anext(connector.pages("slow", after=None)))
            await asyncio.sleep(0.3)
            assert not reading.done()
            begun = time.monotonic()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert time.monotonic() - begun < 1
            if base.kind in RUNNING:
                until(lambda: running(base) == 0)


async def test_an_answer_that_does_not_come_in_time_may_come_another_time(
    server_base: Base,
) -> None:
    server_base.run(SLOW[server_base.kind])
    with pytest.raises(RetryableConnectorError):
        await server_base.pages("slow", tables=["slow"], answer_within=1)
    until(lambda: running(server_base) == 0)


async def test_no_connection_is_left_behind(server_base: Base) -> None:
    server_base.run("CREATE TABLE t (id integer PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    async with server_base.opened(page_size=1) as connector:
        await connector.tables()
        await connector.test()
        async with aclosing(connector.pages("t", after=None)) as walk:
            await anext(walk)
            assert running(server_base) == 1
        until(lambda: running(server_base) == 0)


async def test_a_walk_may_outlive_its_connector(server_base: Base) -> None:
    server_base.run("CREATE TABLE t (id integer PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    async with server_base.opened(page_size=1) as connector:
        walk = connector.pages("t", after=None)
        await anext(walk)
    await walk.aclose()
    until(lambda: running(server_base) == 0)


async def test_work_that_cannot_be_interrupted_is_left_alone() -> None:
    crossing = Crossing()
    interrupted: list[bool] = []
    waiting = asyncio.ensure_future(crossing.run(lambda: time.sleep(5), interrupted.append))
    await asyncio.sleep(0.05)
    begun = time.monotonic()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    # By fair means twice, then by all means.
    assert interrupted == [False, False, True]
    assert time.monotonic() - begun < 4
    crossing.close()


def running(base: Base) -> int:
    with base.engine.connect() as conn:
        return int(conn.exec_driver_sql(RUNNING[base.kind]).scalar_one())


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)
