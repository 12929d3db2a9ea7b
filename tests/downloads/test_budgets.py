"""Budgets in Redis, and what counts while that is away."""

import asyncio
from collections.abc import Iterator

import pytest

from milepost.connectors.budgets import Budgets, OwnBudgets
from milepost.downloads.budgets import RedisBudgets, SqlBudgets, open_budgets
from milepost.redis import Link
from milepost.settings import RedisSettings
from milepost.store.database import Database


@pytest.fixture
def link(redis_settings: RedisSettings) -> Iterator[Link]:
    link = Link(redis_settings)
    yield link
    link.close()


@pytest.fixture(params=["own", "redis"])
def budgets(request: pytest.FixtureRequest) -> Budgets:
    if request.param == "own":
        return OwnBudgets()
    return RedisBudgets(request.getfixturevalue("link"), OwnBudgets())


async def test_turns_follow_each_other_at_their_distance(budgets: Budgets) -> None:
    # Far apart, so that what passes meanwhile does not count.
    turns = [await budgets.reserve("shop", every=1000, burst=1) for _ in range(4)]
    assert turns == pytest.approx([0, 1000, 2000, 3000], abs=5)
    assert await budgets.reserve("another", every=1000, burst=1) == 0


async def test_a_burst_comes_at_once(budgets: Budgets) -> None:
    turns = [await budgets.reserve("shop", every=1000, burst=3) for _ in range(5)]
    assert turns == pytest.approx([0, 0, 0, 1000, 2000], abs=5)


async def test_who_is_told_to_hold_on_holds_all(budgets: Budgets) -> None:
    for seconds in (5000.0, 2000.0):
        await budgets.hold("shop", seconds)
    assert await budgets.reserve("shop", every=1, burst=1) == pytest.approx(5000, abs=5)


async def test_two_never_get_the_same_turn(link: Link) -> None:
    workers = [RedisBudgets(link, OwnBudgets()) for _ in range(4)]
    turns = await asyncio.gather(
        *(worker.reserve("shop", every=1000, burst=1) for worker in workers for _ in range(10))
    )
    assert sorted(turns) == pytest.approx([1000 * step for step in range(40)], abs=5)


async def test_while_redis_is_away_the_store_counts() -> None:
    link = Link(RedisSettings(url="redis://127.0.0.1:1"))
    budgets = RedisBudgets(link, OwnBudgets())
    turns = [await budgets.reserve("shop", every=1000, burst=1) for _ in range(2)]
    await budgets.hold("shop", 9000)
    turns.append(await budgets.reserve("shop", every=1000, burst=1))
    assert turns == pytest.approx([0, 1000, 9000], abs=5)
    link.close()


def test_they_are_counted_where_all_workers_look(link: Link, tmp_path: object) -> None:
    database = Database.__new__(Database)
    assert isinstance(open_budgets(database, None), SqlBudgets)
    assert isinstance(open_budgets(database, link), RedisBudgets)
    assert isinstance(open_budgets(None, None), OwnBudgets)
