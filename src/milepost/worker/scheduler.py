"""Makes scheduled jobs available when their time has come."""

from typing import Final

from sqlalchemy import Connection

from milepost.brokers import Broker
from milepost.signals import Signal, Signals, Topic
from milepost.store import jobs, reading
from milepost.store.database import Database

MOST_AT_ONCE: Final = 1000


class Scheduler:
    """Any number of them may run: the store lets each job be promoted once."""

    def __init__(self, database: Database, signals: Signals, broker: Broker) -> None:
        self._database = database
        self._broker = broker
        self._signals = signals

    async def tick(self) -> None:
        """Promote what is due. Looks first: reading waits for no writer."""
        while await self._database.query(self._is_due):
            promoted = await self._database.run(self._promote)
            if not promoted:
                return
            await self._broker.send([job.job_id for job in promoted])

    def _is_due(self, conn: Connection) -> bool:
        due = reading.next_run_at(conn)
        return due is not None and due <= reading.present(conn, self._database.clock)

    def _promote(self, conn: Connection) -> list[jobs.QueuedJob]:
        promoted = jobs.promote(conn, self._database.clock, limit=MOST_AT_ONCE)
        for queue in {job.queue for job in promoted}:
            self._signals.announce(conn, Signal(Topic.AVAILABLE, queue))
        return promoted
