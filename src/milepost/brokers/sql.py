"""The store as its own broker: receive and claim are one statement."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta

from milepost.brokers.claiming import claim
from milepost.brokers.settling import settle
from milepost.jobs.leases import ClaimedJob, HeldLease, JobId, Lease, Settlement
from milepost.jobs.progress import Progress
from milepost.jobs.states import JobState
from milepost.signals import Signal, Signals, Topic
from milepost.store import jobs
from milepost.store.database import Database
from milepost.store.lanes import Taken


class SqlBroker:
    """Takes jobs of the given kinds from the store itself."""

    def __init__(
        self,
        database: Database,
        signals: Signals,
        *,
        kinds: Sequence[str],
        worker_id: str,
        renewing: Database | None = None,
    ) -> None:
        self._database = database
        self._renewing = renewing or database
        self._signals = signals
        self._kinds = tuple(kinds)
        self._worker_id = worker_id
        # Queues that signals have told of; touched only on the loop that waits.
        self._told: set[str] = set()
        self._everything = False
        # When a rate lets the next begin, in seconds of time.monotonic().
        self._opens_at: dict[str, float] = {}
        self._heard = asyncio.Event()
        self._unsubscribe: Callable[[], None] | None = None

    async def send(self, job_ids: Sequence[JobId]) -> None:
        """Do nothing: an available row is its own message."""

    async def wait(
        self,
        queues: Sequence[str],
        *,
        timeout: timedelta,
        wanted: Callable[[str], bool],  # noqa: ARG002 (a signal is for everybody who hears it)
    ) -> Sequence[str]:
        """Wait for a signal."""
        if self._unsubscribe is None:
            loop = asyncio.get_running_loop()

            def hear(signal: Signal) -> None:
                if signal.topic in (Topic.AVAILABLE, Topic.ANYTHING):
                    loop.call_soon_threadsafe(self._hear, signal)

            self._unsubscribe = self._signals.subscribe(hear)
        deadline = time.monotonic() + timeout.total_seconds()
        while not (self._everything or self._told.intersection(queues)):
            self._heard.clear()
            until = min([deadline, *(self._opens_at[q] for q in queues if q in self._opens_at)])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, until - time.monotonic())):
                    await self._heard.wait()
            self._note_open()
            if time.monotonic() >= deadline:
                break
        told = [queue for queue in queues if self._everything or queue in self._told]
        self._told.clear()
        self._everything = False
        return told

    def _note_open(self) -> None:
        now = time.monotonic()
        for queue in [queue for queue, at in self._opens_at.items() if at <= now]:
            del self._opens_at[queue]
            self._told.add(queue)

    def _hear(self, signal: Signal) -> None:
        if signal.queue is None:
            self._everything = True
        else:
            self._told.add(signal.queue)
        self._heard.set()

    async def receive(
        self, queue: str, *, limit: int, lease_for: timedelta, without: Collection[str] = ()
    ) -> Sequence[ClaimedJob]:
        """Claim jobs of a queue."""
        kinds = [kind for kind in self._kinds if kind not in without]

        def work() -> Taken:
            return claim(
                self._database, queue=queue, kinds=kinds, limit=limit, lease_for=lease_for,
                worker_id=self._worker_id,
            )  # fmt: skip

        taken = await self._database.on_thread(work)
        if taken.opens_in is None:
            self._opens_at.pop(queue, None)
        else:
            self._opens_at[queue] = time.monotonic() + taken.opens_in.total_seconds()
            # Who waits by now waits too long.
            self._heard.set()
        return taken.jobs

    async def renew(self, leases: Sequence[Lease], *, lease_for: timedelta) -> Sequence[HeldLease]:
        """Extend leases in one statement."""
        return await self._renewing.run(
            jobs.renew, self._renewing.clock, leases, lease_for=lease_for
        )

    async def report(self, progress: Mapping[Lease, Progress]) -> None:
        """Do nothing: the store has it."""

    async def settle(self, settlements: Sequence[Settlement]) -> Mapping[Lease, JobState]:
        """Record outcomes in one transaction, and tell who waits for them."""
        return await self._database.run(settle, self._database.clock, self._signals, settlements)

    async def reconcile(self) -> None:
        """Do nothing: the store cannot differ from itself."""

    async def aclose(self) -> None:
        """Stop listening."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
