"""Waiting for a condition, with a deadline; never for an amount of time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")

SOON = timedelta(seconds=10)
"""Longer than anything here takes on a busy machine; only a failing test waits it out."""


async def eventually(check: Callable[[], Any], *, what: str = "it") -> Any:
    """Ask again and again; returns the first answer that is true."""
    deadline = time.monotonic() + SOON.total_seconds()
    while True:
        answer = check()
        found = await answer if isinstance(answer, Awaitable) else answer
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} has not happened within {SOON}; the last answer: {found}")
        await asyncio.sleep(0.01)


def wait_until(check: Callable[[], T]) -> T:
    """The same for `def` handlers and plain functions."""
    deadline = time.monotonic() + SOON.total_seconds()
    while not (found := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{check} has not become true within {SOON}")
        time.sleep(0.005)
    return found
