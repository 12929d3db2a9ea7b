"""Asks again inside an attempt while that is reasonable, and hands over when it is not."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from milepost.connectors.connector import OnWait, Sleep
from milepost.errors import RetryableConnectorError

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How often to ask for one page, and how long to wait for it between the tries."""

    max_tries: int
    wait_at_most: timedelta
    first_wait: timedelta = timedelta(milliseconds=500)

    def wait_after(self, tries: int) -> timedelta:
        """Back off exponentially, up to half of it by chance, so that clients spread out."""
        longest = min(self.first_wait * (1 << min(tries - 1, 20)), self.wait_at_most)
        return longest * random.uniform(0.5, 1)  # noqa: S311


@dataclass(frozen=True, slots=True)
class Asking:
    """How a connector asks: with what patience, and whom it tells of its waits."""

    patience: Patience
    on_wait: OnWait | None
    sleep: Sleep

    async def ask(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask until there is an answer, or the patience is over."""
        return await ask_again(ask, self.patience, on_wait=self.on_wait, sleep=self.sleep)


async def ask_again(
    ask: Callable[[], Awaitable[Answer]],
    patience: Patience,
    *,
    on_wait: OnWait | None = None,
    sleep: Sleep = asyncio.sleep,
) -> Answer:
    """Ask until there is an answer; what the server says about waiting comes first.

    Raises RetryableConnectorError when the patience is over; with `retry_after`, of at least the
    longest wait here, only where the server itself named a time.
    """
    tries, waited = 0, timedelta(0)
    while True:
        tries += 1
        try:
            return await ask()
        except RetryableConnectorError as error:
            said, named = str(error), error.retry_after
        wait = patience.wait_after(tries) if named is None else named
        if tries >= patience.max_tries or waited + wait > patience.wait_at_most:
            # A server that names moments, and never keeps its word, must not be asked all the time.
            later = None if named is None else max(named, patience.wait_at_most)
            raise RetryableConnectorError(f"{said} (tries: {tries})", retry_after=later)
        waited += wait
        if on_wait is not None:
            on_wait(said, wait)
        await sleep(wait.total_seconds())
