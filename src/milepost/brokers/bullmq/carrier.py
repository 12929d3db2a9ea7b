"""Makes BullMQ say of jobs what the store says."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from milepost.brokers.bullmq.entries import CANCELLED, Keep, entry_of
from milepost.brokers.bullmq.kinds import OurKinds
from milepost.brokers.bullmq.scripts import HELD_BACK_MS, NO_LOCK, QueueScripts, Scripts
from milepost.jobs.leases import JobId
from milepost.jobs.states import FINAL, JobState
from milepost.redis import Command, Link
from milepost.store.carried import CarriedJob, WaitingJob

MILLISECOND = timedelta(milliseconds=1)
# Marks an entry that another program's worker has finished and whose outcome the store has.
SETTLED: Final = "milepost-settled"
_LOOKED_AT: Final = ("name", "finishedOn", SETTLED, "priority")


@dataclass(frozen=True, slots=True)
class _Seen:
    """An entry: whether it is there, is finished, and the store has settled that."""

    there: bool
    finished: bool
    settled: bool
    priority: int


class Carrier:
    """Looks at entries and moves those that differ, in two round trips for any number."""

    def __init__(self, link: Link, scripts: Scripts, keep: Keep, kinds: OurKinds) -> None:
        self._link = link
        self._scripts = scripts
        self.keep = keep
        # Of all other kinds, another program's workers move what they have begun.
        self._kinds = kinds

    def align(self, jobs: Sequence[CarriedJob]) -> None:
        """Bring the entries of jobs, which the store has just moved, to where they belong.

        Raises RedisAway.
        """
        kinds = self._kinds.among(job.kind for job in jobs)
        commands: list[Command] = []
        for job, seen in zip(jobs, self._look(jobs), strict=True):
            # First: what follows puts an entry in line by the priority that it has.
            commands += self._reprioritise(job, seen)
            # One that waits for others is added, or brought back, when they have ended.
            if job.state is not JobState.RUNNING and not job.waits:
                commands += self._move(job, seen, ours=job.kind in kinds)
        held_back = {job.queue for job in jobs if job.lane and job.state is JobState.AVAILABLE}
        self._link.round_trip([*commands, *(self._scripts.of(q).wake() for q in held_back)])

    def _reprioritise(self, job: CarriedJob, seen: _Seen) -> list[Command]:
        if not seen.there or job.state in FINAL or seen.priority == job.priority:
            return []
        return [self._scripts.of(job.queue).change_priority(entry_of(job), job.priority)]

    def _move(self, job: CarriedJob, seen: _Seen, *, ours: bool) -> list[Command]:
        if not seen.there:
            return [] if job.state in FINAL else [self._add(job, ours=ours)]
        if job.state in FINAL:
            return [] if seen.finished else self._end(job, ours=ours)
        if seen.finished:
            # What another program's worker has ended counts, until it is settled here.
            return self._begin_again(job, ours=ours) if seen.settled or ours else []
        return self._bring_forward(job, ours=ours) if job.state is JobState.AVAILABLE else []

    def differing(self, jobs: Sequence[WaitingJob]) -> list[JobId]:
        """Which of these have no entry any more, or one that has ended or has another priority.

        Raises RedisAway.
        """
        waiting: dict[str, dict[str, WaitingJob]] = defaultdict(dict)
        for job in jobs:
            waiting[job.queue][entry_of(job)] = job
        replies = self._link.round_trip(
            [
                self._scripts.of(queue).differing(
                    {entry: job.priority for entry, job in entries.items()}
                )
                for queue, entries in waiting.items()
            ]
        )
        differing: list[JobId] = []
        for entries, found in zip(waiting.values(), replies, strict=True):
            if isinstance(found, Exception):
                raise found
            differing += [entries[entry].id for entry in found]
        return differing

    def _look(self, jobs: Sequence[CarriedJob]) -> list[_Seen]:
        """How each job's entry stands."""
        looks = [
            ("HMGET", self._scripts.of(job.queue).entry(entry_of(job)), *_LOOKED_AT) for job in jobs
        ]
        return [_seen(found) for found in self._link.round_trip(looks)]

    def _add(self, job: CarriedJob, *, ours: bool) -> Command:
        delay = 0
        if job.state is JobState.SCHEDULED:
            delay = max(1, (job.run_at - job.created_at) // MILLISECOND)
        elif job.lane:
            delay = HELD_BACK_MS
        return self._scripts.of(job.queue).add(
            entry_of(job), job.kind, job.args,
            timestamp=int(job.created_at.timestamp() * 1000), delay=delay, priority=job.priority,
            # Where another program's worker runs it, the store still counts the attempts.
            attempts=job.max_attempts if ours else 1,
            trace=job.trace,
        )  # fmt: skip

    def _begin_again(self, job: CarriedJob, *, ours: bool) -> list[Command]:
        scripts, entry = self._scripts.of(job.queue), entry_of(job)
        if job.state is JobState.AVAILABLE and ours:
            # In one of the two it stands; the other call finds nothing.
            return [scripts.reprocess(entry, "failed"), scripts.reprocess(entry, "completed")]
        return [scripts.remove(entry), self._add(job, ours=ours)]

    def _bring_forward(self, job: CarriedJob, *, ours: bool) -> list[Command]:
        scripts, entry = self._scripts.of(job.queue), entry_of(job)
        if job.lane:
            # Active no longer; among the delayed it may stay.
            return [scripts.delay(entry, HELD_BACK_MS, token=NO_LOCK, costs=False)]
        commands = [scripts.promote(entry)]
        if ours:
            commands.append(scripts.put_back(entry, token=NO_LOCK))
        return commands

    def _end(self, job: CarriedJob, *, ours: bool) -> list[Command]:
        scripts, entry = self._scripts.of(job.queue), entry_of(job)
        if not ours:
            # A lock keeps it from being removed: then its worker ends it.
            return [scripts.remove(entry)]
        ended = self.ending(scripts, job, token=NO_LOCK)
        return [scripts.pull_out(entry), ended]

    def ending(self, scripts: QueueScripts, job: CarriedJob, *, token: str) -> Command:
        """End an active entry as its job has ended."""
        entry = entry_of(job)
        if job.state is JobState.COMPLETED:
            return scripts.complete(
                entry, job.result or "null", token=token, keep=self.keep.completed
            )
        reason = CANCELLED if job.state is JobState.CANCELLED else job.error or "failed"
        return scripts.fail(entry, reason, token=token, keep=self.keep.failed)


def _seen(found: Any) -> _Seen:
    if isinstance(found, Exception):
        raise found
    name, finished_on, settled, priority = found
    return _Seen(name is not None, finished_on is not None, settled is not None, int(priority or 0))
