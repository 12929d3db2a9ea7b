"""The port to what carries job ids from the store to the workers."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from milepost.jobs.leases import ClaimedJob, HeldLease, JobId, Lease, Settlement
from milepost.jobs.progress import Progress
from milepost.jobs.states import JobState


class Broker(Protocol):
    """Says who is next. The store owns the truth: what a broker holds can be rebuilt from it."""

    async def send(self, job_ids: Sequence[JobId]) -> None:
        """Carry jobs as the store says: waiting ones to the workers, the others no longer.

        Called after the commit that moved them. It never fails for want of a broker: what is
        not carried now is carried by `reconcile`.
        """
        ...

    async def wait(
        self, queues: Sequence[str], *, timeout: timedelta, wanted: Callable[[str], bool]
    ) -> Sequence[str]:
        """Wait, at most so long, until some of these queues may have a job; returns those.

        `wanted` says, from any thread, whether the caller still has room for one of a queue: if
        not, the hint is left to others.
        """
        ...

    async def receive(
        self, queue: str, *, limit: int, lease_for: timedelta, without: Collection[str] = ()
    ) -> Sequence[ClaimedJob]:
        """Take up to `limit` jobs of a queue, the most urgent first, with a lease on each.

        None of the kinds `without`, which the worker could not begin just now.
        """
        ...

    async def renew(self, leases: Sequence[Lease], *, lease_for: timedelta) -> Sequence[HeldLease]:
        """Extend leases; those not returned are lost."""
        ...

    async def report(self, progress: Mapping[Lease, Progress]) -> None:
        """Show the progress of running attempts to who looks at the broker."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> Mapping[Lease, JobState]:
        """Record outcomes and end the leases; those not returned were lost, and stay as they are.

        Settling the same again is answered as the first time.
        """
        ...

    async def reconcile(self) -> None:
        """Carry again what the store has and the broker lost; drop what the store has ended."""
        ...

    async def aclose(self) -> None:
        """Close what is open; safe to call twice."""
        ...
