"""The port between sources and whoever counts their requests, for all workers together."""

import asyncio
import time
from typing import Protocol


class Budgets(Protocol):
    """Gives each request its turn. A key stands for one set of credentials at one source."""

    async def reserve(self, key: str, *, every: float, burst: int) -> float:
        """Take the next turn; returns how many seconds to wait for it.

        Turns are `every` seconds apart; after a pause, up to `burst` come at once.
        """
        ...

    async def hold(self, key: str, seconds: float) -> None:
        """Let nobody have a turn for so long: the source has said so."""
        ...


class OwnBudgets:
    """Counts what this process asks, where there is nothing to share a count through."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    async def reserve(self, key: str, *, every: float, burst: int) -> float:
        """Take the next turn; the generic cell rate algorithm of ITU-T I.371."""
        now = time.monotonic()
        begins = max(self._next.get(key, 0.0), now - every * (burst - 1))
        self._next[key] = begins + every
        return max(0.0, begins - now)

    async def hold(self, key: str, seconds: float) -> None:
        """Move all turns behind the pause."""
        await asyncio.sleep(0)
        self._next[key] = max(self._next.get(key, 0.0), time.monotonic() + seconds)
