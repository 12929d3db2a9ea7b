"""Budgets that all workers of a store share: in Redis where there is one, else in the store."""

import asyncio
from datetime import timedelta
from typing import Any, Final

from milepost.connectors.budgets import Budgets, OwnBudgets
from milepost.errors import RedisAway
from milepost.jobs.events import BudgetWaited, Observer
from milepost.redis import Link
from milepost.store import budgets
from milepost.store.database import Database

# The generic cell rate algorithm, by Redis's own clock; returns microseconds to wait.
RESERVE: Final = """
local t = redis.call("TIME")
local now = t[1] * 1000000 + t[2]
local every, slack = tonumber(ARGV[1]), tonumber(ARGV[2])
local begins = math.max(tonumber(redis.call("GET", KEYS[1]) or 0), now - slack)
redis.call("SET", KEYS[1], string.format("%.0f", begins + every), "PX",
  math.max(0, math.ceil((begins + every - now) / 1000)) + 60000)
return math.max(0, begins - now)
"""
HOLD: Final = """
local t = redis.call("TIME")
local now = t[1] * 1000000 + t[2]
local until_ = now + tonumber(ARGV[1])
if tonumber(redis.call("GET", KEYS[1]) or 0) < until_ then
  redis.call("SET", KEYS[1], string.format("%.0f", until_), "PX", math.ceil(ARGV[1] / 1000) + 60000)
end
return 0
"""
MICROSECONDS: Final = 1_000_000


class SqlBudgets:
    """Counted in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(self, key: str, *, every: float, burst: int) -> float:
        """Take the next turn; returns how many seconds to wait for it."""
        return await self._database.run(
            budgets.reserve, self._database.clock, key, every=every, burst=burst
        )

    async def hold(self, key: str, seconds: float) -> None:
        """Let nobody have a turn for so long."""
        await self._database.run(budgets.hold, self._database.clock, key, seconds=seconds)


class RedisBudgets:
    """Counted in Redis; in the store while that is away."""

    def __init__(self, link: Link, store: Budgets) -> None:
        self._link = link
        self._store = store
        self._reserve = link.script(RESERVE)
        self._hold = link.script(HOLD)

    async def reserve(self, key: str, *, every: float, burst: int) -> float:
        """Take the next turn; returns how many seconds to wait for it."""
        slack = every * (burst - 1)
        try:
            wait = await self._call(self._reserve, key, _micro(every), _micro(slack))
        except RedisAway:
            return await self._store.reserve(key, every=every, burst=burst)
        return int(wait) / MICROSECONDS

    async def hold(self, key: str, seconds: float) -> None:
        """Let nobody have a turn for so long."""
        try:
            await self._call(self._hold, key, _micro(seconds))
        except RedisAway:
            await self._store.hold(key, seconds)

    async def _call(self, script: str, key: str, *args: int) -> Any:
        name = f"{self._link.settings.prefix}:budget:{key}"
        return await asyncio.to_thread(self._link.call, "EVALSHA", script, 1, name, *args)


class ObservedBudgets:
    """Tells how long requests wait for their turn."""

    def __init__(self, budgets: Budgets, observe: Observer) -> None:
        self._budgets = budgets
        self._observe = observe

    async def reserve(self, key: str, *, every: float, burst: int) -> float:
        """Take the next turn; returns how many seconds to wait for it."""
        wait = await self._budgets.reserve(key, every=every, burst=burst)
        if wait > 0:
            self._observe(BudgetWaited(timedelta(seconds=wait)))
        return wait

    async def hold(self, key: str, seconds: float) -> None:
        """Let nobody have a turn for so long."""
        await self._budgets.hold(key, seconds)


def open_budgets(database: Database | None, link: Link | None) -> Budgets:
    """Choose where requests are counted."""
    if database is None:
        return OwnBudgets()
    own = SqlBudgets(database)
    return own if link is None else RedisBudgets(link, own)


def _micro(seconds: float) -> int:
    return round(seconds * MICROSECONDS)
