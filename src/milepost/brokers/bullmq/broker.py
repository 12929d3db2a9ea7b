"""The broker on BullMQ: it carries ids, the store decides."""

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final

from milepost.brokers.bullmq.carrier import MILLISECOND, Carrier
from milepost.brokers.bullmq.entries import (
    CANCELLED,
    Keep,
    entry_of,
    failure_fields,
    spell_progress,
)
from milepost.brokers.bullmq.kinds import OurKinds
from milepost.brokers.bullmq.receiving import Receiver
from milepost.brokers.bullmq.reconciling import Reconciler
from milepost.brokers.bullmq.scripts import HELD_BACK_MS, Scripts
from milepost.brokers.bullmq.waiting import MarkerWait
from milepost.brokers.settling import settle
from milepost.errors import RedisAway
from milepost.jobs.leases import ClaimedJob, HeldLease, JobId, Lease, Settlement
from milepost.jobs.outcomes import (
    Completed,
    Crashed,
    Failed,
    Misfit,
    Snoozed,
    Waiting,
    crashed_too_often,
)
from milepost.jobs.progress import Progress
from milepost.jobs.registry import Registry
from milepost.jobs.states import JobState
from milepost.redis import Command, Link
from milepost.signals import Signals
from milepost.store import carried, jobs
from milepost.store.database import Database
from milepost.store.flows import Moved

logger = logging.getLogger("milepost.brokers")

# What BullMQ answers where a parent may not complete.
HAS_CHILDREN: Final = (-4, -9)
CHILD_LOST: Final = "a job that it waits for has failed, or was cancelled"


class BullmqBroker:
    """Every verb asks the store first, then tells BullMQ; what Redis misses is reconciled."""

    def __init__(
        self,
        link: Link,
        database: Database,
        signals: Signals,
        registry: Registry,
        *,
        worker_id: str,
        largest_args: int,
        renewing: Database | None = None,
    ) -> None:
        self._link = link
        self._database = database
        self._renewing = renewing or database
        self._signals = signals
        self._worker_id = worker_id
        self._scripts = Scripts(link)
        keep = Keep(link.settings.keep_completed, link.settings.keep_failed)
        kinds = OurKinds(database, registry)
        self._carrier = Carrier(link, self._scripts, keep, kinds)
        self._waiting = MarkerWait(link, self._scripts, worker_id=worker_id)
        self._receiver = Receiver(
            link, self._scripts, self._carrier, self._waiting, database, registry,
            worker_id=worker_id, largest_args=largest_args,
        )  # fmt: skip
        self._reconciler = Reconciler(
            link, self._scripts, self._carrier, database, signals, registry, kinds,
            worker_id=worker_id,
        )  # fmt: skip
        self._waiter = ThreadPoolExecutor(1, thread_name_prefix="milepost-marker")
        # The queue and entry of each lease. Written by several threads, one key each.
        self._held: dict[Lease, tuple[str, str]] = {}
        self._lock = threading.Lock()

    async def send(self, job_ids: Sequence[JobId]) -> None:
        """Bring entries to where the store has just moved their jobs."""
        if job_ids and not self._link.is_away:
            await self._database.on_thread(lambda: self._align(job_ids))

    def _align(self, job_ids: Sequence[JobId]) -> None:
        try:
            with self._database.read() as conn:
                moved = carried.read(conn, self._database.clock, job_ids)
            self._carrier.align(moved)
        except RedisAway as away:
            logger.info("%d jobs are stored and will be sent later: %s", len(job_ids), away)
        except Exception:
            # They are committed: whoever asked must not believe that they are not.
            logger.exception("%d jobs are stored and will be sent later", len(job_ids))

    async def wait(
        self, queues: Sequence[str], *, timeout: timedelta, wanted: Callable[[str], bool]
    ) -> Sequence[str]:
        """Wait for a marker of BullMQ."""
        loop = asyncio.get_running_loop()
        waiting = loop.run_in_executor(
            self._waiter, self._waiting.wait, tuple(queues), timeout, wanted
        )
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            await self._database.on_thread(self._waiting.interrupt)
            await waiting
            raise

    async def receive(
        self, queue: str, *, limit: int, lease_for: timedelta, without: Collection[str] = ()
    ) -> Sequence[ClaimedJob]:
        """Take entries from BullMQ and claim their jobs; from the store while Redis is away."""
        claimed = await self._database.on_thread(
            lambda: self._receiver.receive(queue, limit, lease_for, without)
        )
        with self._lock:
            self._held.update({job.lease: (queue, entry_of(job)) for job in claimed})
        return claimed

    async def renew(self, leases: Sequence[Lease], *, lease_for: timedelta) -> Sequence[HeldLease]:
        """Extend leases in the store, then BullMQ's locks, which are there for others to see."""
        return await self._renewing.on_thread(lambda: self._renew(leases, lease_for))

    def _renew(self, leases: Sequence[Lease], lease_for: timedelta) -> Sequence[HeldLease]:
        with self._renewing.begin() as conn:
            held = jobs.renew(conn, self._renewing.clock, leases, lease_for=lease_for)
        by_queue = defaultdict(list)
        for each in held:
            queue, entry = self._held.get(each.lease, (None, ""))
            if queue is not None:
                by_queue[queue].append(entry)
        lock_ms = lease_for // MILLISECOND
        self._tell(
            [
                self._scripts.of(queue).extend(entries, token=self._worker_id, lock_ms=lock_ms)
                for queue, entries in by_queue.items()
            ]
        )
        return held

    async def report(self, progress: Mapping[Lease, Progress]) -> None:
        """Note progress in BullMQ."""
        commands = [
            self._scripts.of(queue).progress(entry, spell_progress(progress[lease]))
            for lease in progress
            for queue, entry in [self._held.get(lease, (None, ""))]
            if queue is not None
        ]
        if commands:
            await self._database.on_thread(lambda: self._tell(commands))

    async def settle(self, settlements: Sequence[Settlement]) -> Mapping[Lease, JobState]:
        """Record outcomes in the store, then show them in BullMQ."""
        states = await self._database.on_thread(lambda: self._settle(settlements))
        with self._lock:
            for settlement in settlements:
                self._held.pop(settlement.job.lease, None)
        return states

    def _settle(self, settlements: Sequence[Settlement]) -> Mapping[Lease, JobState]:
        moved = Moved()
        with self._database.begin() as conn:
            states = settle(conn, self._database.clock, self._signals, settlements, moved=moved)
        settled = [s for s in settlements if s.job.lease in states]
        replies = self._tell(
            [
                *(self._shown(s, states[s.job.lease]) for s in settled),
                *self._receiver.wake_limited({s.job.queue for s in settled}),
                *self._receiver.wake_steered([s.job for s in settled]),
            ]
        )
        self._fail_with_children(settled, replies)
        # Refused: the lock ran out while Redis was away, or somebody moved the entry.
        astray = [
            s.job.lease.job_id
            for s, reply in zip(settled, replies, strict=False)
            if _refused(reply)
        ]
        if (astray or moved.job_ids) and not self._link.is_away:
            self._align([*astray, *moved.job_ids])
        return states

    def _fail_with_children(self, settled: Sequence[Settlement], replies: Sequence[object]) -> None:
        """Show a parent of a flow as failed that BullMQ does not let complete."""
        reason = "BullMQ does not let it complete: it has children that failed or have not ended"
        keep = self._carrier.keep.failed
        self._tell(
            [
                self._scripts.of(s.job.queue).fail(
                    entry_of(s.job), reason, token=self._worker_id, keep=keep
                )
                for s, reply in zip(settled, replies, strict=False)
                if reply in HAS_CHILDREN
            ]
        )

    def _shown(self, settlement: Settlement, state: JobState) -> Command:
        job, outcome = settlement.job, settlement.outcome
        scripts, entry, token = self._scripts.of(job.queue), entry_of(job), self._worker_id
        keep = self._carrier.keep
        if isinstance(outcome, Crashed) and state is JobState.FAILED:
            outcome = crashed_too_often(outcome, settlement.most_rescues)
        fields = failure_fields(outcome) if isinstance(outcome, Failed | Misfit) else None
        match state:
            case JobState.COMPLETED:
                result = outcome.result if isinstance(outcome, Completed) else "null"
                return scripts.complete(entry, result, token=token, keep=keep.completed)
            case JobState.FAILED if fields is not None:
                return scripts.fail(
                    entry, fields["failedReason"], token=token, keep=keep.failed, fields=fields
                )
            case JobState.FAILED if isinstance(outcome, Waiting):
                return scripts.fail(entry, CHILD_LOST, token=token, keep=keep.failed)
            case JobState.SCHEDULED:
                wait = outcome.after if isinstance(outcome, Snoozed) else settlement.retry_after
                if isinstance(outcome, Waiting):
                    # Until its children have ended, which brings it forward.
                    wait = carried.LONGEST_REST
                return scripts.delay(
                    entry, wait // MILLISECOND, token=token,
                    costs=isinstance(outcome, Failed), fields=fields,
                )  # fmt: skip
            case JobState.AVAILABLE if job.lane:
                return scripts.delay(entry, HELD_BACK_MS, token=token, costs=False)
            case JobState.AVAILABLE:
                return scripts.put_back(entry, token=token)
            case _:
                return scripts.fail(entry, CANCELLED, token=token, keep=keep.failed)

    def _tell(self, commands: Sequence[Command]) -> list[object]:
        """Tell Redis what the store has; what it misses is reconciled."""
        if self._link.is_away:
            return []
        try:
            return self._link.round_trip(commands)
        except RedisAway:
            return []

    async def reconcile(self) -> None:
        """Compare Redis with the store, if no other worker does."""
        if not self._link.is_away:
            await self._database.on_thread(self._reconciler.tick)

    async def aclose(self) -> None:
        """Stop waiting, and let another worker reconcile."""
        await self._database.on_thread(self._reconciler.close)
        self._waiter.shutdown(wait=True)
        self._waiting.close()


def _refused(reply: object) -> bool:
    if isinstance(reply, int):
        return reply < -1 and reply not in HAS_CHILDREN
    return isinstance(reply, Exception)
