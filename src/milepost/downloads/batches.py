"""Pages that one commit holds."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Final

from milepost.connectors import Page

ENOUGH: Final = 1000
"""Records from which on a commit costs little beside its rows."""


async def batches(
    pages: AsyncGenerator[Page], *, within: float, hurry: Callable[[], bool]
) -> AsyncGenerator[list[Page]]:
    """Put small pages together: up to 1,000 records, and none waits longer than `within` seconds.

    Where `hurry` says so, none waits. What came before an error is given before it is raised.
    """
    loop = asyncio.get_running_loop()
    held: list[Page] = []
    until = 0.0
    coming: asyncio.Task[Page | None] | None = None
    try:
        while True:
            coming = coming or loop.create_task(_next(pages))
            await asyncio.wait({coming}, timeout=max(until - loop.time(), 0.0) if held else None)
            # It may well be done when those that are held have been given.
            done = coming if coming.done() else None
            if done is not None and not done.exception() and (page := done.result()):
                coming = done = None
                until = until if held else loop.time() + within
                held.append(page)
                if _wait_for_more(held, hurry) and loop.time() < until:
                    continue
            if held:
                yield held
                held = []
            if done is not None:
                done.result()
                return
    finally:
        if coming is not None:
            coming.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await coming


async def _next(pages: AsyncGenerator[Page]) -> Page | None:
    return await anext(pages, None)


def _wait_for_more(held: list[Page], hurry: Callable[[], bool]) -> bool:
    return not (held[-1].last or hurry()) and sum(len(page.records) for page in held) < ENOUGH
