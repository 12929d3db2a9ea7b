"""One background loop, written once."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

from milepost.jobs.events import Observer, TickFailed


class Role:
    """Calls `tick` again and again: after `every`, or at once when woken."""

    def __init__(
        self,
        name: str,
        tick: Callable[[], Awaitable[None]],
        *,
        every: timedelta,
        observe: Observer,
    ) -> None:
        self.name = name
        self._tick = tick
        self._every = every.total_seconds()
        self._observe = observe
        self._woken = asyncio.Event()
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first tick comes at once."""
        self._task = asyncio.create_task(self._run(), name=f"milepost-{self.name}")

    def wake(self) -> None:
        """Tick as soon as possible. Only from the loop's own thread."""
        self._woken.set()

    async def stop(self, *, within: float) -> None:
        """Let the tick that is under way end, then stop; may be called twice.

        Not cancelled: what a tick has just claimed in the store must not get lost on its way.
        One that takes longer than `within` seconds is left behind.
        """
        self._ending.set()
        self._woken.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=within)

    async def _run(self) -> None:
        while not self._ending.is_set():
            self._woken.clear()
            try:
                await self._tick()
            except Exception as error:  # noqa: BLE001
                # One bad tick (a dropped connection) must not end the role, nor spin it.
                self._observe(TickFailed(self.name, error))
                await self._pause(self._ending, min(self._every, 1))
            else:
                await self._pause(self._woken, self._every)

    async def _pause(self, until: asyncio.Event, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await until.wait()
