"""Gives the jobs of workers that are gone to the living."""

import time
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from milepost.brokers import Broker, announce
from milepost.jobs.events import JobRescued, Observer
from milepost.jobs.leases import Lease
from milepost.jobs.states import FINAL
from milepost.signals import Signal, Signals, Topic
from milepost.store import jobs, watches, workers
from milepost.store.database import Database
from milepost.store.flows import Moved
from milepost.worker.board import Board
from milepost.worker.identity import host_key, is_dead

MOST_AT_ONCE: Final = 500


class Rescuer:
    """Looks for expired leases, and for workers of this machine whose process is gone."""

    def __init__(
        self,
        board: Board,
        database: Database,
        signals: Signals,
        broker: Broker,
        *,
        lease_for: timedelta,
        most_rescues: int,
        observe: Observer,
    ) -> None:
        self._board = board
        self._database = database
        self._signals = signals
        self._broker = broker
        self._most_rescues = most_rescues
        self._observe = observe
        # A worker renews three times in a lease. Within two of these it has been heard of.
        self._patience = lease_for.total_seconds() * 2 / 3
        self._late: dict[tuple[Lease, datetime], float] = {}

    @classmethod
    def of_nobody(cls, database: Database, signals: Signals, broker: Broker) -> "Rescuer":
        """A rescuer without a worker: for a program that looks at the store before it works."""
        return cls(
            Board(0), database, signals, broker,
            lease_for=timedelta(seconds=15), most_rescues=3, observe=lambda _: None,
        )  # fmt: skip

    async def tick(self) -> None:
        """Rescue all there is to rescue, a little at a time."""
        neighbours = await self._database.query(workers.unstopped, host_key=host_key())
        dead = [worker.id for worker in neighbours if is_dead(worker)]
        if not dead and not await self._database.query(jobs.any_expired, self._database.clock):
            self._late = {}
            return
        await self._look_at_the_late([each.id for each in neighbours if each.id not in dead])
        while len(await self._rescue_some(dead)) == MOST_AT_ONCE:
            pass
        if dead:
            # Only now: nobody looks for jobs of a worker that has stopped, unless their leases
            # expire.
            await self._database.run(watches.of_dead_workers, self._database.clock, dead)

    async def _look_at_the_late(self, living: list[str]) -> None:
        """Note since when leases of processes that live on this machine have been expired.

        The clock may have jumped, or the machine has slept: then all are expired at once, and
        their workers renew them in a moment. Time is counted by the clock that never jumps.
        """
        now = time.monotonic()
        late = await self._database.query(jobs.expired_of, self._database.clock, living)
        self._late = {each: self._late.get(each, now) for each in late}

    def _spared(self) -> list[Lease]:
        now = time.monotonic()
        late = [lease for (lease, _), at in self._late.items() if now - at < self._patience]
        return [*self._board.held(), *late]

    async def _rescue_some(self, dead: list[str]) -> list[jobs.Rescued]:
        rescued, moved = await self._database.run(self._rescue, dead)
        await self._broker.send([*(each.lease.job_id for each in rescued), *moved.job_ids])
        for each in rescued:
            self._observe(
                JobRescued(
                    each.lease.job_id,
                    each.lease.attempt,
                    each.kind,
                    each.queue,
                    each.worker_id,
                    each.state,
                    each.why,
                )
            )
        return rescued

    def _rescue(self, conn: Connection, dead: list[str]) -> tuple[list[jobs.Rescued], Moved]:
        clock, moved = self._database.clock, Moved()
        rescued = jobs.rescue(
            conn, clock, dead_workers=dead, most_rescues=self._most_rescues,
            limit=MOST_AT_ONCE, spared=self._spared(), moved=moved,
        )  # fmt: skip
        # Also where they have ended: that may let another begin.
        for queue in {each.queue for each in rescued}:
            self._signals.announce(conn, Signal(Topic.AVAILABLE, queue))
        ended = tuple(each.lease.job_id for each in rescued if each.state in FINAL)
        if ended:
            self._signals.announce(conn, Signal(Topic.SETTLED, job_ids=ended))
        announce(conn, self._signals, moved)
        return rescued, moved
