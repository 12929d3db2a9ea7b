"""The store as its own broker: receive and claim are one statement."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Connection

from milepost.jobs.leases import ClaimedJob, HeldLease, JobId, Lease, Settlement
from milepost.jobs.states import FINAL, JobState
from milepost.signals import Signal, Signals, Topic
from milepost.store import jobs
from milepost.store.database import Database


class SqlBroker:
    """Takes jobs of the given kinds from the store itself."""

    def __init__(
        self, database: Database, signals: Signals, *, kinds: Sequence[str], worker_id: str
    ) -> None:
        self._database = database
        self._signals = signals
        self._kinds = tuple(kinds)
        self._worker_id = worker_id

    async def send(self, jobs: Sequence[JobId]) -> None:
        """Do nothing: an available row is its own message."""

    async def receive(
        self, queue: str, *, limit: int, lease_for: timedelta
    ) -> Sequence[ClaimedJob]:
        """Claim jobs of a queue."""
        return await self._database.run(
            jobs.claim,
            self._database.clock,
            queue=queue,
            kinds=self._kinds,
            limit=limit,
            lease_for=lease_for,
            worker_id=self._worker_id,
        )

    async def renew(self, leases: Sequence[Lease], *, lease_for: timedelta) -> Sequence[HeldLease]:
        """Extend leases in one statement."""
        return await self._database.run(
            jobs.renew, self._database.clock, leases, lease_for=lease_for
        )

    async def settle(self, settlements: Sequence[Settlement]) -> Mapping[Lease, JobState]:
        """Record outcomes in one transaction, and tell who waits for them."""
        return await self._database.run(self._settle, settlements)

    def _settle(
        self, conn: Connection, settlements: Sequence[Settlement]
    ) -> Mapping[Lease, JobState]:
        states = jobs.settle(conn, self._database.clock, settlements)
        ended = tuple(lease.job_id for lease, state in states.items() if state in FINAL)
        if ended:
            self._signals.announce(conn, Signal(Topic.SETTLED, job_ids=ended))
        for queue in {s.job.queue for s in settlements
                      if states.get(s.job.lease) is JobState.AVAILABLE}:  # fmt: skip
            self._signals.announce(conn, Signal(Topic.AVAILABLE, queue))
        return states

    async def withdraw(self, job_id: JobId) -> None:
        """Do nothing: the store has already moved the row."""

    async def aclose(self) -> None:
        """Nothing is open but the store, which belongs to others."""
