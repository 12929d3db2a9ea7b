"""How a worker winds down: nothing is lost, and nothing is charged to a job."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from milepost.errors import JobInterrupted
from milepost.worker.board import Board
from milepost.worker.enforcer import Enforcer
from milepost.worker.runner import Runner

# Of the grace period, this much is kept for asyncio's cancel after the handlers' own saving.
FORCE_SHARE: Final = 0.2
# Longer than a child process lives on after it was forced.
LAST_MOMENT: Final = 0.8


class WindDown:
    """Tells the running attempts, waits, forces, leaves behind; in this order."""

    def __init__(
        self, board: Board, runner: Runner, enforcer: Enforcer, *, grace: timedelta
    ) -> None:
        self._board = board
        self._runner = runner
        self._enforcer = enforcer
        self._grace = grace.total_seconds()
        self._hurried = False

    def hurry(self) -> None:
        """Wait for nobody any more."""
        self._hurried = True
        self._runner.changed.set()

    async def run(self) -> None:
        """Return when no attempt runs any more."""
        board, runner = self._board, self._runner
        runner.stopping = True
        for attempt in list(board.running.values()):
            attempt.token.stop(JobInterrupted("the worker is stopping"))
        end = time.monotonic() + self._grace
        saving = end - FORCE_SHARE * self._grace
        await self._ended(lambda: 0 if self._hurried else saving)
        for attempt in list(board.running.values()):
            runner.pool_of(attempt).force(attempt)
        last = time.monotonic() + LAST_MOMENT
        await self._ended(lambda: last if self._hurried else max(end, last))
        for attempt in list(board.running.values()):
            self._enforcer.leave_behind(attempt)

    async def _ended(self, deadline: Callable[[], float]) -> None:
        while self._board.running and (left := deadline() - time.monotonic()) > 0:
            self._runner.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._runner.changed.wait()
