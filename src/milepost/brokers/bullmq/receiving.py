"""Takes entries from BullMQ and claims their jobs in the store."""

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection

from milepost.brokers.bullmq.carrier import MILLISECOND, Carrier
from milepost.brokers.bullmq.entries import entry_id, entry_of, job_id_of
from milepost.brokers.bullmq.fitness import ensure_owned
from milepost.brokers.bullmq.foundlings import Foundlings
from milepost.brokers.bullmq.picking import Picker
from milepost.brokers.bullmq.scripts import HELD_BACK_MS, QueueScripts, Scripts
from milepost.brokers.bullmq.steering import Steering
from milepost.brokers.bullmq.waiting import MarkerWait
from milepost.brokers.claiming import claim
from milepost.errors import RedisAway, UnknownKind
from milepost.jobs.leases import ClaimedJob, JobId, Settlement
from milepost.jobs.limits import read_lane
from milepost.jobs.outcomes import Failed
from milepost.jobs.registry import Registry
from milepost.jobs.states import JobState
from milepost.redis import Command, Link
from milepost.redis.link import pairs
from milepost.store import adoption, carried, jobs, reading, workers
from milepost.store.carried import CarriedJob
from milepost.store.database import Database

NO_SUCH_JOB: Final = "the store has no such job"
# An entry whose kind only other workers know is offered again after this. So is one of a kind
# without room, where BullMQ had to say who is next.
OFFER_AGAIN_AFTER: Final = timedelta(seconds=1)

Entries = dict[str, Sequence[str]]
"""Entries by their ids, with what BullMQ knows of each: names and values in turn."""


class Receiver:
    """One worker's way from a queue to claimed jobs."""

    def __init__(
        self,
        link: Link,
        scripts: Scripts,
        carrier: Carrier,
        waiting: MarkerWait,
        database: Database,
        registry: Registry,
        *,
        worker_id: str,
        largest_args: int,
    ) -> None:
        self._foundlings = Foundlings(registry, largest_args=largest_args)
        self._picker = Picker(
            link, scripts, waiting, database, self._foundlings, worker_id=worker_id
        )
        self._steering = Steering(database, registry)
        self._owned = False
        # Queues with a limit of BullMQ's to what is active in all workers.
        self._limited: set[str] = set()
        self._link = link
        self._scripts = scripts
        self._carrier = carrier
        self._waiting = waiting
        self._database = database
        self._registry = registry
        self._worker_id = worker_id

    def receive(
        self, queue: str, limit: int, lease_for: timedelta, without: Collection[str] = ()
    ) -> list[ClaimedJob]:
        """Take up to `limit` jobs; straight from the store when Redis has been away for long."""
        kinds = tuple(kind for kind in self._registry.kinds if kind not in without)
        if self._link.is_away:
            self._owned = False
            return self._from_store(queue, kinds, limit, lease_for)
        try:
            if not self._owned:
                # It may be another Redis by now, or have become another store's.
                ensure_owned(self._link, self._store_id())
                self._owned = True
            steered = self._steering.applies(queue)
            if without or steered:
                line = self._picker.look(queue, kinds, steered=steered)
                if line is not None:
                    hopeless = self._picker.take(queue, line.hopeless, lease_for)
                    self._claim_all(queue, hopeless, kinds, lease_for)
                    return self._picker.pick(queue, line, kinds, limit, lease_for)
                if self._has_no_room(queue, without):
                    # All that BullMQ handed out would go back, and would have cost its rate.
                    return []
            entries = self._pull(queue, limit, lease_for)
        except RedisAway:
            return []
        return self._claim_all(queue, entries, kinds, lease_for)

    def _has_no_room(self, queue: str, without: Collection[str]) -> bool:
        at_home = {each.kind for each in self._registry if each.runs_here and each.queue == queue}
        return bool(at_home) and at_home <= set(without)

    def _claim_all(
        self, queue: str, entries: Entries, kinds: Sequence[str], lease_for: timedelta
    ) -> list[ClaimedJob]:
        """Claim what the entries stand for, and refuse the others."""
        if not entries:
            return []
        try:
            claimed, refused, dropped = self._claim(queue, entries, kinds, lease_for)
        except BaseException:
            self._tell(
                [self._scripts.of(queue).put_back(e, token=self._worker_id) for e in entries]
            )
            raise
        if refused or dropped:
            self._tell(self._refusals(queue, kinds, refused, dropped))
        return claimed

    def _from_store(
        self, queue: str, kinds: Sequence[str], limit: int, lease_for: timedelta
    ) -> list[ClaimedJob]:
        if self._link.away_for() < self._link.settings.away_after:
            return []
        taken = claim(
            self._database, queue=queue, kinds=kinds, limit=limit, lease_for=lease_for,
            worker_id=self._worker_id,
        )  # fmt: skip
        self._waiting.note_opening(queue, taken.opens_in)
        return list(taken.jobs)

    def _pull(self, queue: str, limit: int, lease_for: timedelta) -> Entries:
        scripts = self._scripts.of(queue)
        take = scripts.take(token=self._worker_id, lock_ms=lease_for // MILLISECOND)
        entries: Entries = {}
        # The first also makes delayed entries that are due available, so it comes before counting.
        first, waiting, prioritized, concurrency = self._link.round_trip(
            [
                take, ("LLEN", scripts.key["wait"]), ("ZCARD", scripts.key["prioritized"]),
                ("HGET", scripts.key["meta"], "concurrency"),
            ]
        )  # fmt: skip
        (self._limited.add if concurrency else self._limited.discard)(queue)
        if self._note(queue, first, entries):
            more = min(limit - 1, waiting + prioritized)
            for reply in self._link.repeat(take, more):
                if not self._note(queue, reply, entries):
                    break
        return entries

    def _store_id(self) -> str:
        with self._database.read() as conn:
            return reading.store_id(conn)

    def wake_limited(self, queues: Collection[str]) -> list[Command]:
        """Tell who waits that there is room again in those queues whose concurrency is limited.

        Whoever was refused there has used up its hint.
        """
        return [self._scripts.of(queue).wake() for queue in self._limited & set(queues)]

    def wake_steered(self, ended: Sequence[ClaimedJob]) -> list[Command]:
        """Tell who waits that there may be room again under the limits of what has ended."""
        queues = {job.queue for job in ended if job.steered}
        if any(job.lane and read_lane(job.lane).shared for job in ended):
            queues |= self._steering.queues
        return [self._scripts.of(queue).wake() for queue in queues]

    def _note(self, queue: str, reply: Any, entries: Entries) -> bool:
        """Read one reply to `take`; False: there is nothing more just now."""
        if isinstance(reply, Exception):
            raise reply
        fields, entry, limited_ms, due_ms = (*reply, 0, 0)[:4]
        if entry:
            entries[str(entry)] = fields or ()
            return True
        if int(limited_ms or 0) > 0:
            self._waiting.note_due(queue, time.time() + int(limited_ms) / 1000)
        else:
            self._waiting.note_due(queue, int(due_ms) / 1000 if due_ms else None)
        return False

    def _claim(
        self, queue: str, entries: Entries, kinds: Sequence[str], lease_for: timedelta
    ) -> tuple[list[ClaimedJob], list[CarriedJob], dict[str, str]]:
        """Claim what the entries stand for.

        Also returns the jobs that the store does not give, and the entries that are no jobs, with
        the reason.
        """
        clock = self._database.clock
        ours = {job_id: entry for entry in entries if (job_id := job_id_of(entry)) is not None}
        found, dropped = self._foundlings.read(
            queue, {entry: flat for entry, flat in entries.items() if job_id_of(entry) is None}
        )
        with self._database.begin() as conn:
            if found:
                adopted = adoption.adopt(conn, clock, found)
                ours |= {job_id: entry_id(place) for (_, place), job_id in adopted.items()}
            # BullMQ hands these out to be failed: a child of theirs has.
            doomed = {
                job_id: why
                for job_id, entry in ours.items()
                if job_id_of(entry) is None and (why := pairs(entries[entry]).get("defa"))
            }
            wanted = [job_id for job_id in ours if job_id not in doomed]
            claimed = self._claim_these(conn, wanted, kinds, lease_for)
            refused: list[CarriedJob] = []
            if len(claimed) < len(wanted):
                missing = set(wanted) - {job.lease.job_id for job in claimed}
                due = jobs.promote_these(conn, clock, sorted(missing))
                if due:
                    promoted = [job.job_id for job in due]
                    claimed += self._claim_these(conn, promoted, kinds, lease_for)
                    missing -= {job.lease.job_id for job in claimed}
                refused = carried.read(conn, clock, sorted(missing))
                refused = [self._fail_unknown(conn, job) for job in refused]
            refused += [self._fail(conn, job_id, why) for job_id, why in doomed.items()]
        known = {job.lease.job_id for job in claimed} | {job.id for job in refused}
        # Pruned, or of a store that is no more. Whoever waits for it learns that it ended.
        gone = {entry: NO_SUCH_JOB for job_id, entry in ours.items() if job_id not in known}
        return claimed, refused, dropped | gone

    def _claim_these(
        self,
        conn: Connection,
        job_ids: Sequence[JobId],
        kinds: Sequence[str],
        lease_for: timedelta,
    ) -> list[ClaimedJob]:
        return jobs.claim_these(
            conn, self._database.clock, job_ids, kinds=kinds, lease_for=lease_for,
            worker_id=self._worker_id,
        )  # fmt: skip

    def _fail_unknown(self, conn: Connection, job: CarriedJob) -> CarriedJob:
        """Fail an adopted job of a kind that no worker knows: nobody else will ever say so."""
        if job.state is not JobState.AVAILABLE or job.broker_id is None:
            return job
        known = {kind for worker in workers.unstopped(conn) for kind in worker.kinds}
        if job.kind in known | set(self._registry.kinds):
            return job
        return self._fail(conn, job.id, str(UnknownKind(job.kind, list(known))))

    def _fail(self, conn: Connection, job_id: JobId, reason: str) -> CarriedJob:
        """Fail a job without running it."""
        clock = self._database.clock
        [job] = carried.read(conn, clock, [job_id])
        claimed = jobs.claim_these(
            conn, clock, [job_id], kinds=[job.kind], lease_for=timedelta(minutes=1),
            worker_id=self._worker_id, steered=True,
        )  # fmt: skip
        jobs.settle(
            conn, clock, [Settlement(each, Failed(reason, recoverable=False)) for each in claimed]
        )
        [failed] = carried.read(conn, clock, [job_id])
        return failed

    def _refusals(
        self,
        queue: str,
        kinds: Sequence[str],
        refused: Sequence[CarriedJob],
        dropped: Mapping[str, str],
    ) -> list[Command]:
        scripts, token = self._scripts.of(queue), self._worker_id
        commands: list[Command] = []
        for job in refused:
            commands += self._refusal(scripts, kinds, job)
        for entry, reason in dropped.items():
            keep = 0 if reason is NO_SUCH_JOB else self._carrier.keep.failed
            commands.append(scripts.fail(entry, reason, token=token, keep=keep))
        return commands

    def _refusal(
        self, scripts: QueueScripts, kinds: Sequence[str], job: CarriedJob
    ) -> list[Command]:
        token = self._worker_id
        entry = entry_of(job)
        match job.state:
            case JobState.RUNNING:
                # It is active, as the store says; whose lock it has matters to nobody.
                return []
            case JobState.AVAILABLE if job.lane:
                self._steering.note(job.queue)
                return [scripts.delay(entry, HELD_BACK_MS, token=token, costs=False)]
            case JobState.SCHEDULED:
                return [scripts.delay(entry, job.wait // MILLISECOND, token=token, costs=False)]
            # Not a suspect: that waits for another one, which may run for long.
            case JobState.AVAILABLE if job.kind in kinds and job.rescues <= 1:
                # Its queue may have got limits: then the store is asked who is next.
                self._steering.forget(job.queue)
                return [scripts.put_back(entry, token=token)]
            case JobState.AVAILABLE:
                again = OFFER_AGAIN_AFTER // MILLISECOND
                return [scripts.delay(entry, again, token=token, costs=False)]
            case _:
                return [self._carrier.ending(scripts, job, token=token)]

    def _tell(self, commands: Sequence[Command]) -> None:
        try:
            self._link.round_trip(commands)
        except RedisAway:
            # The reconciler finds them among the active ones.
            return
