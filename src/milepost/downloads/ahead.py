"""The next thing while the one before is in use."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


async def ahead(things: AsyncGenerator[T], turn: Callable[[T], Awaitable[U]]) -> AsyncGenerator[U]:
    """Give each thing as what it is turned into; the next one comes while that is in use.

    An error that comes with the next one is raised after that.
    """

    async def next_() -> U | None:
        thing = await anext(things, None)
        return None if thing is None else await turn(thing)

    coming = asyncio.create_task(next_())
    try:
        while (turned := await coming) is not None:
            coming = asyncio.create_task(next_())
            yield turned
    finally:
        coming.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await coming
