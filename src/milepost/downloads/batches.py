"""Pages that one commit holds."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

from milepost.connectors import Page


async def batches(
    pages: AsyncGenerator[Page], *, enough: int, within: float, hurry: Callable[[], bool]
) -> AsyncGenerator[list[Page]]:
    """Put pages together until they have `enough` records; none waits longer than `within` seconds.

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
                more = sum(len(each.records) for each in held) < enough
                if more and not (page.last or hurry()) and loop.time() < until:
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
