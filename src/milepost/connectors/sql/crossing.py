"""Where async code crosses over to a database: one thread, which can be let go of."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

R = TypeVar("R")

Interrupt = Callable[[bool], None]
"""Ends the work of another thread; with True by all means."""

# Twice, because the query may only have begun after the first time; then the connection goes.
_TRIES: Final = (False, False, True)
_SECONDS: Final = 1.0


class Crossing:
    """Runs blocking work, one piece after the other."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="milepost-sql")

    async def run(self, work: Callable[[], R], interrupt: Interrupt) -> R:
        """Run work; when the wait is cancelled the work is interrupted, and ends first.

        A server that is out of reach may hold the thread longer: then it is left alone.
        """
        running = self._thread.submit(work)
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            for cut in _TRIES:
                if running.cancel() or running.done():
                    break
                asking = asyncio.ensure_future(asyncio.to_thread(interrupt, cut))
                await asyncio.wait([asking], timeout=_SECONDS)
                await _end_of(running)
            raise

    async def finish(self, work: Callable[[], object]) -> None:
        """Run what ends quickly, unless the thread is held: then it runs when that ends."""
        try:
            running = self._thread.submit(work)
        except RuntimeError:
            # Closed before what it was asked for: nobody else uses the thread any more.
            await asyncio.to_thread(work)
            return
        await _end_of(running)

    def close(self) -> None:
        """Take no more work; what runs, runs to its end."""
        self._thread.shutdown(wait=False)


async def _end_of(running: "Future[Any]") -> None:
    ended = asyncio.wrap_future(running)
    await asyncio.wait([ended], timeout=_SECONDS)
    if ended.done() and not ended.cancelled():
        # Whoever gave the work up does not ask how it went.
        ended.exception()
