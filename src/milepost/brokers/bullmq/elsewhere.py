"""Jobs that another program's BullMQ workers run: what they return or throw settles the row.

BullMQ's events only say when to look; what the entry says counts, so a lost event is only late.
"""

import hashlib
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection

from milepost.brokers.bullmq.carrier import SETTLED, Carrier
from milepost.brokers.bullmq.entries import entry_of, job_id_of
from milepost.brokers.bullmq.leading import Lead
from milepost.brokers.bullmq.scripts import Scripts
from milepost.brokers.settling import settle
from milepost.errors import PayloadInvalid, RedisAway
from milepost.jobs.leases import ClaimedJob, JobId, Lease, Settlement
from milepost.jobs.outcomes import Completed, Failed, Outcome
from milepost.jobs.progress import Progress
from milepost.jobs.registry import Registry
from milepost.jobs.states import FINAL, JobState
from milepost.redis import Command, Link
from milepost.signals import Signal, Signals, Topic
from milepost.store import carried, jobs, progress
from milepost.store.carried import CarriedJob
from milepost.store.database import Database
from milepost.store.flows import Moved

logger = logging.getLogger("milepost.brokers")

LOOK_EVERY: Final = timedelta(milliseconds=500)
LEASE_FOR: Final = timedelta(seconds=15)
MOST_AT_ONCE: Final = 500
# Between two looks at everything.
SHORTEST_REST: Final = 10.0
REST_SHARE: Final = 20
_LOOKED_AT: Final = (
    "finishedOn", "returnvalue", "failedReason", "stacktrace", "progress", SETTLED, "name",
)  # fmt: skip


class Elsewhere:
    """A thread that keeps rows and foreign workers' entries in step.

    It runs in one worker of those that know these kinds.
    """

    def __init__(
        self,
        link: Link,
        scripts: Scripts,
        carrier: Carrier,
        database: Database,
        signals: Signals,
        registry: Registry,
        *,
        worker_id: str,
    ) -> None:
        self._link = link
        self._scripts = scripts
        self._carrier = carrier
        self._database = database
        self._signals = signals
        self._definitions = {kind: registry[kind] for kind in registry.elsewhere}
        self._queues = sorted({each.queue for each in self._definitions.values()})
        # Not the reconciler's lead: that may be with a program that does not know these kinds.
        known = hashlib.sha256("\n".join(registry.elsewhere).encode()).hexdigest()[:12]
        self._lead = Lead(link, f"{link.settings.prefix}:elsewhere:{known}", worker_id)
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._shown: dict[Lease, str] = {}
        # BullMQ keeps what its workers finish for ever; here the history is the store's.
        self._kept: deque[tuple[str, str]] = deque()

    def tick(self) -> None:
        """Look, if no other worker does; nothing to do where every kind runs here.

        Raises RedisAway.
        """
        if not self._definitions:
            return
        if self._lead.take():
            self._start()
        else:
            self._stop()

    def close(self) -> None:
        """Look no more, and let another worker look. Raises RedisAway."""
        if self._thread is not None:
            self._stop()
            self._lead.give_up()

    def _start(self) -> None:
        if self._thread is None:
            self._ending.clear()
            self._thread = threading.Thread(
                target=self._run, name="milepost-elsewhere", daemon=True
            )
            self._thread.start()

    def _stop(self) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        from redis.exceptions import RedisError

        while not self._ending.is_set():
            try:
                self._follow()
            except (RedisAway, RedisError, OSError):
                self._ending.wait(LOOK_EVERY.total_seconds())
            except Exception:
                logger.exception("could not look after the jobs that run elsewhere")
                self._ending.wait(LOOK_EVERY.total_seconds())

    def _follow(self) -> None:
        streams = {self._scripts.of(queue).key["events"]: "$" for queue in self._queues}
        with self._link.open_blocking(LOOK_EVERY) as client:
            # From their ends; what came before is seen in the entries.
            for key in streams:
                newest = client.xrevrange(key, count=1)
                streams[key] = newest[0][0] if newest else "0-0"
            named: set[JobId] = set()
            rest_until = 0.0
            while not self._ending.is_set():
                # Events tell of nearly all; a backlog is read whole only now and then.
                if time.monotonic() > rest_until:
                    began = time.monotonic()
                    self._look()
                    took = time.monotonic() - began
                    rest_until = time.monotonic() + max(SHORTEST_REST, REST_SHARE * took)
                else:
                    self._look(leased=True)
                named = self._look_at(named)
                read: Any = client.xread(streams, count=1000, block=LOOK_EVERY // _MS)
                for key, events in read or ():
                    streams[key] = events[-1][0]
                    named.update(
                        job_id
                        for _, event in events
                        if (job_id := job_id_of(event.get("jobId", ""))) is not None
                    )

    def _look_at(self, named: set[JobId]) -> set[JobId]:
        """Look at these jobs; returns those that the store still waits for, to be seen again."""
        if not named:
            return named
        with self._database.read() as conn:
            found = carried.read(conn, self._database.clock, sorted(named))
        known = [j for j in found if j.kind in self._definitions and j.state not in FINAL]
        for start in range(0, len(known), MOST_AT_ONCE):
            self._compare(known[start : start + MOST_AT_ONCE])
        return {job.id for job in known if job.state is JobState.SCHEDULED}

    def _look(self, *, leased: bool = False) -> None:
        """Look at all that is unfinished, or at what has been begun."""
        kinds = sorted(self._definitions)
        after: JobId = 0
        while True:
            with self._database.read() as conn:
                page = carried.unfinished_of(
                    conn,
                    self._database.clock,
                    kinds,
                    after=after,
                    limit=MOST_AT_ONCE,
                    leased=leased,
                )
            if page:
                self._compare(page)
            if len(page) < MOST_AT_ONCE:
                return
            after = page[-1].id

    def _compare(self, page: Sequence[CarriedJob]) -> None:
        commands: list[Command] = []
        for job in page:
            scripts, entry = self._scripts.of(job.queue), entry_of(job)
            commands.append(("HMGET", scripts.entry(entry), *_LOOKED_AT))
            commands.append(("EXISTS", scripts.lock(entry)))
        replies = self._link.round_trip(commands)
        seen = list(zip(page, replies[::2], replies[1::2], strict=True))
        # One without a lock has delayed itself, or BullMQ's own stalled check looks after it.
        running = [
            (job, fields[4])
            for job, fields, locked in seen
            if fields[6] and not fields[0] and (locked or job.state is JobState.RUNNING)
        ]
        # What is marked ended in an attempt before, and is about to be sent again.
        ended = [(job, fields) for job, fields, _ in seen if fields[0] and not fields[5]]
        outcomes = {job.id: self._outcome(job, *fields[1:4]) for job, fields in ended}
        moved = Moved()
        with self._database.begin() as conn:
            claimed = self._claim(conn, [job for job, _ in running], [job for job, _ in ended])
            settlements = [
                Settlement(claimed[job_id], outcome, self._backoff(claimed[job_id]))
                for job_id, outcome in outcomes.items()
                if job_id in claimed
            ]
            self._report(conn, claimed, running)
            states = settle(conn, self._database.clock, self._signals, settlements, moved=moved)
        if settlements:
            self._conclude(settlements, states, moved)

    def _conclude(
        self,
        settlements: Sequence[Settlement],
        states: Mapping[Lease, JobState],
        moved: Moved,
    ) -> None:
        """Send again what is to run again, and what waited for them; keep the newest that ended."""
        for settlement in settlements:
            lease = settlement.job.lease
            self._shown.pop(lease, None)
            if states.get(lease) in FINAL:
                self._kept.append((settlement.job.queue, entry_of(settlement.job)))
        marks: list[Command] = [
            self._scripts.of(job.queue).mark(entry_of(job), SETTLED, str(job.lease.attempt))
            for job in (settlement.job for settlement in settlements)
        ]
        self._link.round_trip(marks)
        with self._database.read() as conn:
            again = [
                job
                for job in carried.read(
                    conn,
                    self._database.clock,
                    [*(s.job.lease.job_id for s in settlements), *moved.job_ids],
                )
                if job.state not in FINAL
            ]
        self._carrier.align(again)
        surplus = max(0, len(self._kept) - self._carrier.keep.completed)
        old = [self._kept.popleft() for _ in range(surplus)]
        self._link.round_trip([self._scripts.of(queue).remove(entry) for queue, entry in old])

    def _claim(
        self, conn: Connection, running: Sequence[CarriedJob], ended: Sequence[CarriedJob]
    ) -> dict[JobId, ClaimedJob]:
        """Claim what the foreign workers have begun, and keep the leases of what they still do."""
        clock = self._database.clock
        both = [*running, *ended]
        # Its worker may go by another clock, and begin what the store still waits for.
        jobs.promote_these(conn, clock, [job.id for job in both])
        new = jobs.claim_these(
            conn, clock, [job.id for job in both], kinds=sorted(self._definitions),
            lease_for=LEASE_FOR, worker_id="bullmq", begun=True,
        )  # fmt: skip
        claimed = {job.lease.job_id: job for job in new}
        held = jobs.held_by(conn, "bullmq", [job.id for job in both if job.id not in claimed])
        if held:
            jobs.renew(conn, clock, [job.lease for job in held], lease_for=LEASE_FOR)
        return claimed | {job.lease.job_id: job for job in held}

    def _outcome(
        self, job: CarriedJob, returned: str | None, reason: str | None, stack: str | None
    ) -> Outcome:
        if reason is not None and returned is None:
            lines = _list(stack)
            return Failed(reason, traceback=str(lines[-1]) if lines else None)
        definition = self._definitions[job.kind]
        try:
            return Completed(definition.result.parse(returned or "null"))
        except Exception as error:  # noqa: BLE001
            # Whatever it is: one result that cannot be read must not keep all others waiting.
            what = str(error) if isinstance(error, PayloadInvalid) else repr(error)
            return Failed(what, recoverable=False)

    def _backoff(self, claim: ClaimedJob) -> timedelta:
        backoff = claim.backoff or self._definitions[claim.kind].backoff
        return backoff.wait(claim.failures + 1)

    def _report(
        self,
        conn: Connection,
        claimed: dict[JobId, ClaimedJob],
        running: Sequence[tuple[CarriedJob, str | None]],
    ) -> None:
        reported: dict[Lease, Progress] = {}
        for job, text in running:
            claim = claimed.get(job.id)
            if claim is None or text is None or self._shown.get(claim.lease) == text:
                continue
            self._shown[claim.lease] = text
            if (shown := _progress(text)) is not None:
                reported[claim.lease] = shown
        if reported:
            progress.report(conn, self._database.clock, reported, checkpoints={})
            ids = tuple(lease.job_id for lease in reported)
            self._signals.announce(conn, Signal(Topic.PROGRESS, job_ids=ids))


_MS: Final = timedelta(milliseconds=1)


def _list(text: str | None) -> list[Any]:
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return []
    return found if isinstance(found, list) else []


def _progress(text: str) -> Progress | None:
    """BullMQ's progress is a percentage, or an object of the program's own."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if isinstance(found, int | float):
        return Progress(round(found), 100)
    return Progress(0, message=json.dumps(found)[:500]) if isinstance(found, dict) else None
