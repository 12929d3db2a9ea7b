"""Stops the children of jobs that were cancelled, and finds what waits for nothing any more."""

import time
from typing import Final

from sqlalchemy import Connection

from milepost.brokers import Broker, announce, stop_children
from milepost.jobs.leases import JobId
from milepost.signals import Signals
from milepost.store import children, flows
from milepost.store.database import Database
from milepost.store.flows import Moved

MEND_EVERY: Final = 60.0
MOST_AT_ONCE: Final = 100


class Flows:
    """Any number of them may run: the statements decide who wins."""

    def __init__(self, database: Database, signals: Signals, broker: Broker) -> None:
        self._database = database
        self._signals = signals
        self._broker = broker
        self._mend_at = time.monotonic() + MEND_EVERY

    async def tick(self) -> None:
        """Do what there is to do. Looks first: reading waits for no writer."""
        await stop_children(self._database, self._signals, self._broker)
        if time.monotonic() > self._mend_at:
            self._mend_at = time.monotonic() + MEND_EVERY
            await self.mend()

    async def mend(self) -> None:
        """Move on what waits though all that it waits for has ended."""
        stuck = await self._database.query(children.stuck, limit=MOST_AT_ONCE)
        if stuck:
            moved = await self._database.run(self._mend, stuck)
            await self._broker.send(moved.job_ids)

    def _mend(self, conn: Connection, stuck: list[JobId]) -> Moved:
        moved = Moved()
        flows.recount(conn, self._database.clock, stuck, moved)
        announce(conn, self._signals, moved)
        return moved
