"""Compares Redis with the store: what one lost is added, what the other ended is ended."""

import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from milepost.brokers.bullmq.carrier import MILLISECOND, Carrier
from milepost.brokers.bullmq.elsewhere import Elsewhere
from milepost.brokers.bullmq.entries import broker_id_of, entry_of, job_id_of
from milepost.brokers.bullmq.fitness import read_info, take_ownership
from milepost.brokers.bullmq.kinds import OurKinds
from milepost.brokers.bullmq.leading import Lead
from milepost.brokers.bullmq.receiving import NO_SUCH_JOB
from milepost.brokers.bullmq.scripts import HELD_BACK_MS, NO_LOCK, QueueScripts, Scripts
from milepost.errors import RedisAway, RedisUnfit
from milepost.jobs.leases import JobId
from milepost.jobs.registry import Registry
from milepost.jobs.states import JobState
from milepost.redis import Command, Link
from milepost.signals import Signals
from milepost.store import adoption, carried, reading, workers
from milepost.store.carried import CarriedJob, WaitingJob
from milepost.store.database import Database

PAGE: Final = 1000
# Whoever submitted is about to send; only who died in between is helped.
SENT_WITHIN: Final = timedelta(milliseconds=500)
# Of this process's time, a slow round takes one part in twenty.
ROUND_SHARE: Final = 20
SHORTEST_REST: Final = 10.0
WORK_FOR: Final = 0.25


class Reconciler:
    """One worker at a time leads; the others only ask whether it still does."""

    def __init__(
        self,
        link: Link,
        scripts: Scripts,
        carrier: Carrier,
        database: Database,
        signals: Signals,
        registry: Registry,
        kinds: OurKinds,
        *,
        worker_id: str,
    ) -> None:
        self._link = link
        self._scripts = scripts
        self._carrier = carrier
        self._database = database
        self._registry = registry
        self._kinds = kinds
        prefix = link.settings.prefix
        self._lead = Lead(link, f"{prefix}:dispatcher", worker_id)
        self._instance_key = f"{prefix}:instance"
        self._elsewhere = Elsewhere(
            link, scripts, carrier, database, signals, registry, worker_id=worker_id
        )
        self._instance: tuple[str, str] | None = None
        self._newest_seen: JobId = 0
        # Where something may be active that nobody holds.
        self._queues: set[str] = set()
        self._active_queues: set[str] = set()
        self._round: Round | None = None
        self._rest_until = 0.0
        self._led = False

    def tick(self) -> None:
        """Reconcile a little, if this worker leads; all of it, if Redis has forgotten."""
        try:
            # Whoever leads here need not know what runs elsewhere.
            self._elsewhere.tick()
            if not self._lead.take():
                self._led = False
                return
            if not self._led:
                self._led, self._instance = True, None
            if self._is_another_redis():
                self._own()
                self._begin_round()
                while self._round is not None:
                    self._continue_round(until=time.monotonic() + WORK_FOR)
                    self._lead.take()
            self._send_unsent()
            self._mend_active()
            if self._round is None and time.monotonic() > self._rest_until:
                self._begin_round()
            self._continue_round(until=time.monotonic() + WORK_FOR)
        except RedisAway:
            # When it is back, everything is compared.
            self._instance = None

    def close(self) -> None:
        """Let another worker lead."""
        led, self._led = self._led, False
        try:
            self._elsewhere.close()
            if led:
                self._lead.give_up()
        except RedisAway:
            return

    def _own(self) -> None:
        """Take the prefix for this store; raises RedisUnfit where it is another's by now."""
        with self._database.read() as conn:
            store_id = reading.store_id(conn)
        try:
            take_ownership(self._link, store_id)
        except RedisUnfit:
            self._instance = None
            self._lead.give_up()
            raise

    def _is_another_redis(self) -> bool:
        """Whether this Redis was started, emptied or replaced since the last look."""
        run_id = read_info(self._link).get("run_id", "")
        _, mark = self._link.round_trip(
            [("SET", self._instance_key, secrets.token_hex(8), "NX"), ("GET", self._instance_key)]
        )
        before, self._instance = self._instance, (run_id, mark)
        return before != self._instance

    # What was committed and never sent.

    def _send_unsent(self) -> None:
        settled_down = datetime.now(UTC) - SENT_WITHIN
        while True:
            with self._database.read() as conn:
                page = carried.waiting_since(conn, after=self._newest_seen, limit=PAGE)
            old = [job for job in page if job.created_at < settled_down]
            self._restore(old)
            if old:
                self._newest_seen = old[-1].id
            if len(old) < PAGE:
                return

    def _restore(self, waiting: Sequence[WaitingJob]) -> None:
        self._queues.update(job.queue for job in waiting)
        differing = self._carrier.differing(waiting)
        if differing:
            with self._database.read() as conn:
                jobs = carried.read(conn, self._database.clock, differing)
            self._carrier.align(jobs)

    # What Redis believes to be active.

    def _mend_active(self) -> None:
        with self._database.read() as conn:
            served = {queue for worker in workers.unstopped(conn) for queue in worker.queues}
        queues = sorted(self._queues | served | set(self._registry.queues))
        listed = self._link.round_trip(
            [("LRANGE", self._scripts.of(queue).key["active"], 0, -1) for queue in queues]
        )
        active = {queue: entries for queue, entries in zip(queues, listed, strict=True) if entries}
        self._active_queues = set(active)
        for queue, entries in active.items():
            scripts = self._scripts.of(queue)
            locks = self._link.round_trip([("GET", scripts.lock(entry)) for entry in entries])
            left = self._left_behind(dict(zip(entries, locks, strict=True)))
            if left:
                self._link.round_trip(self._mending(queue, scripts, left))

    def _left_behind(self, locks: dict[str, Any]) -> list[str]:
        """The entries that nobody holds: without a lock, or with one of a worker that ended."""
        with self._database.read() as conn:
            ended = workers.ended(conn, sorted({str(lock) for lock in locks.values() if lock}))
        return [entry for entry, lock in locks.items() if lock is None or lock in ended]

    def _mending(self, queue: str, scripts: QueueScripts, entries: Sequence[str]) -> list[Command]:
        added = self._link.round_trip(
            [("HMGET", scripts.entry(entry), "name", "timestamp") for entry in entries]
        )
        gone = [entry for entry, (name, _) in zip(entries, added, strict=True) if name is None]
        times = {entry: at for entry, (_, at) in zip(entries, added, strict=True)}
        entries = [entry for entry in entries if entry not in gone]
        with self._database.read() as conn:
            foreign = [(queue, broker_id_of(entry, times[entry])) for entry in entries
                       if job_id_of(entry) is None]  # fmt: skip
            adopted = adoption.known(conn, foreign) if foreign else {}
            ids = [
                job_id_of(entry) or adopted.get((queue, broker_id_of(entry, times[entry])), 0)
                for entry in entries
            ]
            found = carried.read(conn, self._database.clock, [i for i in ids if i])
        by_id = {job.id: job for job in found}
        ours = self._kinds.among(job.kind for job in found)
        commands: list[Command] = [scripts.forget(entry) for entry in gone]
        for entry, job_id in zip(entries, ids, strict=True):
            job = by_id.get(job_id)
            # What another program's worker has begun is its own to end.
            if job is not None and job.kind not in ours:
                continue
            # Nor is it Milepost's to judge what another program added where only it works.
            if job is None and job_id_of(entry) is None and queue not in self._registry.queues:
                continue
            commands += self._mend(scripts, entry, job)
        return commands

    def _mend(self, scripts: QueueScripts, entry: str, job: CarriedJob | None) -> list[Command]:
        if job is None:
            if job_id_of(entry) is None:
                # Taken by a worker that died before it could adopt it.
                return [scripts.put_back(entry, token=NO_LOCK)]
            return [scripts.fail(entry, NO_SUCH_JOB, token=NO_LOCK, keep=0)]
        match job.state:
            case JobState.RUNNING:
                return []
            case JobState.AVAILABLE if job.lane:
                return [scripts.delay(entry, HELD_BACK_MS, token=NO_LOCK, costs=False)]
            case JobState.AVAILABLE:
                return [scripts.put_back(entry, token=NO_LOCK)]
            case JobState.SCHEDULED:
                wait = job.wait // MILLISECOND
                return [scripts.delay(entry_of(job), wait, token=NO_LOCK, costs=False)]
            case _:
                return [self._carrier.ending(scripts, job, token=NO_LOCK)]

    # Everything that waits.

    def _begin_round(self) -> None:
        if not self._newest_seen:
            # A round looks at all that waits: only what comes from now on is new.
            with self._database.read() as conn:
                self._newest_seen = carried.newest(conn)
        self._round = Round()

    def _continue_round(self, *, until: float) -> None:
        """Go on with a round, page by page, until the time is up or the round is done."""
        while (round_ := self._round) is not None and time.monotonic() < until:
            began = time.monotonic()
            with self._database.read() as conn:
                page = carried.waiting_page(conn, round_.state, after=round_.after, limit=PAGE)
            self._restore(page)
            round_.queues.update(job.queue for job in page)
            round_.took += time.monotonic() - began
            if len(page) == PAGE:
                round_.after = page[-1]
            elif round_.state is JobState.AVAILABLE:
                round_.state, round_.after = JobState.SCHEDULED, None
            else:
                self._round = None
                # Those that nothing waits in and nothing runs in are not looked into any more.
                self._queues = round_.queues | self._active_queues
                self._rest_until = time.monotonic() + max(SHORTEST_REST, ROUND_SHARE * round_.took)


class Round:
    """Where a comparison of everything that waits stands."""

    def __init__(self) -> None:
        self.state = JobState.AVAILABLE
        self.after: WaitingJob | None = None
        self.queues: set[str] = set()
        self.took = 0.0
