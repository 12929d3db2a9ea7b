"""Brings cancel requests from the store to running attempts."""

from milepost.store import jobs
from milepost.store.database import Database
from milepost.worker.board import Board
from milepost.worker.leases import LeaseKeeper


class CancelWatch:
    """Woken by signals; what the store says counts, so that a lost signal is only late."""

    def __init__(self, board: Board, keeper: LeaseKeeper, database: Database) -> None:
        self._board = board
        self._keeper = keeper
        self._database = database

    async def tick(self) -> None:
        """Ask once for all running attempts."""
        leases = list(self._board.running)
        if not leases:
            return
        asked = await self._database.query(jobs.cancel_requests, leases)
        for each in asked:
            attempt = self._board.running.get(each.lease)
            if attempt is not None:
                self._keeper.cancel(attempt, each)
