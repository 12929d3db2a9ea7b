"""The port to what carries job ids from the store to the workers."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from milepost.jobs.leases import ClaimedJob, HeldLease, JobId, Lease, Settlement
from milepost.jobs.states import JobState


class Broker(Protocol):
    """Says who is next. The store owns the truth: what a broker holds can be rebuilt from it."""

    async def send(self, jobs: Sequence[JobId]) -> None:
        """Carry jobs that have become available."""
        ...

    async def receive(
        self, queue: str, *, limit: int, lease_for: timedelta
    ) -> Sequence[ClaimedJob]:
        """Take up to `limit` jobs of a queue, the most urgent first, with a lease on each."""
        ...

    async def renew(self, leases: Sequence[Lease], *, lease_for: timedelta) -> Sequence[HeldLease]:
        """Extend leases; those not returned are lost."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> Mapping[Lease, JobState]:
        """Record outcomes and end the leases; those not returned were lost, and stay as they are.

        Settling the same again is answered as the first time.
        """
        ...

    async def withdraw(self, job_id: JobId) -> None:
        """Carry a job no longer."""
        ...

    async def aclose(self) -> None:
        """Close what is open; safe to call twice."""
        ...
