"""Coroutines, on a loop of their own thread: no handler can stall the worker's loop."""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from milepost.jobs.outcomes import Outcome
from milepost.pools.attempt import Attempt
from milepost.pools.execution import outcome_of, run_coroutine
from milepost.pools.frames import (
    Whereabouts,
    awaited,
    called,
    local_above,
    place,
    thread_frame,
    whereabouts,
)
from milepost.pools.pool import UNBOUNDED, Blocked, OnDone

BEAT: Final = 0.1
CLOSE_SECONDS: Final = 0.4


class CoroutinePool:
    """Runs `async def` handlers as tasks of one loop."""

    def __init__(self, on_done: OnDone) -> None:
        self._on_done = on_done
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="milepost-coroutines", daemon=True)
        self._inbox: deque[Attempt] = deque()
        self._tasks: dict[Attempt, asyncio.Task[None]] = {}
        self._last_beat = 0.0
        self._ending = False

    def start(self) -> None:
        """Start the loop's thread."""
        self._last_beat = time.monotonic()
        self._thread.start()

    def run(self, attempts: Sequence[Attempt]) -> None:
        """Begin attempts, all in one wake-up of the loop."""
        self._inbox.extend(attempts)
        self._loop.call_soon_threadsafe(self._begin)

    def room(self) -> int:
        """Any number: a task costs next to nothing."""
        return UNBOUNDED

    def force(self, attempt: Attempt) -> None:
        """Cancel the task as asyncio does."""
        self._loop.call_soon_threadsafe(self._cancel, attempt)

    def where(self, attempt: Attempt) -> Whereabouts | None:
        """Say where the task waits or runs."""
        frame = thread_frame(self._thread.ident)
        if local_above(frame, "_run", "attempt") is attempt:
            return whereabouts(called(frame), attempt.definition.handler)
        task = self._tasks.get(attempt)
        frames = [] if task is None else awaited(task.get_coro())
        return whereabouts(frames, attempt.definition.handler)

    def blocked(self, longer_than: timedelta) -> Blocked | None:
        """Say which handler has not let the loop turn for so long."""
        late = time.monotonic() - self._last_beat - BEAT
        if late < max(longer_than.total_seconds(), BEAT) or not self._thread.is_alive():
            return None
        frame = thread_frame(self._thread.ident)
        attempt = local_above(frame, "_run", "attempt")
        if not isinstance(attempt, Attempt):
            # The loop's own work, or clean-up of something that no attempt waits for.
            where = place(called(frame), self._serve) or "unknown"
            return Blocked(None, where, timedelta(seconds=late))
        where = place(called(frame), attempt.definition.handler) or "unknown"
        return Blocked(attempt, where, timedelta(seconds=late))

    def cpu_used(self, attempt: Attempt) -> timedelta | None:  # noqa: ARG002
        """Say nothing: coroutines share the CPU time of their thread."""
        return None

    def close(self) -> None:
        """End the loop; a handler that does not let it end is left behind with its thread."""
        if not self._thread.is_alive():
            self._loop.close()
            return
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join(CLOSE_SECONDS)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._beat()
        try:
            while not (self._ending and not self._tasks):
                self._turn()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    def _turn(self) -> None:
        # A handler may stop the loop itself, and asyncio lets a SystemExit out of a task that a
        # handler has started through the whole loop. It hears of it where it awaits that task.
        with contextlib.suppress(BaseException):
            self._loop.run_forever()

    def _beat(self) -> None:
        self._last_beat = time.monotonic()
        self._loop.call_later(BEAT, self._beat)

    def _begin(self) -> None:
        while self._inbox:
            attempt = self._inbox.popleft()
            self._tasks[attempt] = self._loop.create_task(self._run(attempt))

    async def _run(self, attempt: Attempt) -> None:
        outcome: Outcome | None
        try:
            outcome = await run_coroutine(attempt)
        except BaseException as error:  # noqa: BLE001 (an attempt must end, whatever is raised)
            # Also one that was cancelled before its first step: its handler never ran.
            outcome = outcome_of(attempt, error)
        del self._tasks[attempt]
        self._on_done(attempt, outcome)
        if self._ending and not self._tasks:
            self._loop.call_soon(self._loop.stop)

    def _end(self) -> None:
        # Tasks that were left behind still run their clean-up, as long as that takes.
        self._ending = True
        for task in self._tasks.values():
            task.cancel()
        if not self._tasks:
            self._loop.stop()

    def _cancel(self, attempt: Attempt) -> None:
        task = self._tasks.get(attempt)
        if task is not None:
            task.cancel()
