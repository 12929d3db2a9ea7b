"""Writes what attempts have noted: progress, checkpoint copies, log lines."""

import asyncio

from sqlalchemy import Connection

from milepost.brokers import Broker
from milepost.jobs.leases import HeldLease
from milepost.pools import Notes
from milepost.pools.notes import Taken
from milepost.signals import Signal, Signals, Topic
from milepost.store import logs, progress
from milepost.store.database import Database
from milepost.worker.board import Board
from milepost.worker.leases import LeaseKeeper


class Reporter:
    """One transaction for the notes of all attempts, a few times a second."""

    def __init__(
        self,
        notes: Notes,
        board: Board,
        keeper: LeaseKeeper,
        database: Database,
        signals: Signals,
        broker: Broker,
    ) -> None:
        self._notes = notes
        self._board = board
        self._keeper = keeper
        self._database = database
        self._signals = signals
        self._broker = broker
        self._writing = asyncio.Lock()

    async def tick(self) -> None:
        """Write what was noted since the last time.

        Returns when that is written, also where another tick took it: whoever settles next
        would overtake it, and a report on an attempt that has ended is refused.
        """
        async with self._writing:
            await self._write_notes()

    async def _write_notes(self) -> None:
        taken = self._notes.take()
        if not taken:
            return
        reported = taken.progress.keys() | taken.checkpoints.keys()
        try:
            held = {each.lease: each for each in await self._database.run(self._write, taken)}
        except Exception:
            self._notes.put_back(taken)
            raise
        shown = {lease: taken.progress[lease] for lease in taken.progress.keys() & held.keys()}
        if shown:
            await self._broker.report(shown)
        for lease in reported:
            attempt = self._board.running.get(lease)
            if attempt is None:
                continue
            if lease not in held:
                self._keeper.lose(attempt, "another attempt has taken the job over, or it ended")
            elif held[lease].cancel_requested:
                self._keeper.cancel(attempt, held[lease])

    def _write(self, conn: Connection, taken: Taken) -> list[HeldLease]:
        held: list[HeldLease] = []
        if taken.progress or taken.checkpoints:
            held = progress.report(
                conn, self._database.clock, taken.progress, checkpoints=taken.checkpoints
            )
        if taken.lines:
            logs.write(conn, taken.lines)
        moved = tuple(each.lease.job_id for each in held)
        if moved:
            self._signals.announce(conn, Signal(Topic.PROGRESS, job_ids=moved))
        return held
