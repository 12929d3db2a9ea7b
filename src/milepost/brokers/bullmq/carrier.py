"""Makes BullMQ say of jobs what the store says."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from milepost.brokers.bullmq.entries import CANCELLED, Keep, entry_of
from milepost.brokers.bullmq.kinds import OurKinds
from milepost.brokers.bullmq.scripts import NO_LOCK, QueueScripts, Scripts
from milepost.jobs.leases import JobId
from milepost.jobs.states import FINAL, JobState
from milepost.redis import Command, Link
from milepost.store.carried import CarriedJob, WaitingJob

MILLISECOND = timedelta(milliseconds=1)
# Marks an entry that another program's worker has finished and whose outcome the store has.
SETTLED: Final = "milepost-settled"
_LOOKED_AT: Final = ("name", "finishedOn", SETTLED)


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
        # One that waits for others is added, or brought back, when they have ended.
        moving = [job for job in jobs if job.state is not JobState.RUNNING and not job.waits]
        kinds = self._kinds.among(job.kind for job in moving)
        commands: list[Command] = []
        for job, (there, finished, settled) in zip(moving, self._look(moving), strict=True):
            ours = job.kind in kinds
            if not there:
                if job.state not in FINAL:
                    commands.append(self._add(job, ours=ours))
            elif job.state in FINAL:
                if not finished:
                    commands += self._end(job, ours=ours)
            elif finished:
                # What another program's worker has ended counts, until it is settled here.
                if settled or ours:
                    commands += self._begin_again(job, ours=ours)
            elif job.state is JobState.AVAILABLE:
                commands += self._bring_forward(job, ours=ours)
        self._link.round_trip(commands)

    def lost(self, jobs: Sequence[WaitingJob]) -> list[JobId]:
        """Which of these have no entry any more, or one that says that they have ended.

        Raises RedisAway.
        """
        by_queue: dict[str, dict[str, JobId]] = defaultdict(dict)
        for job in jobs:
            by_queue[job.queue][entry_of(job)] = job.id
        replies = self._link.round_trip(
            [self._scripts.of(queue).lost(list(entries)) for queue, entries in by_queue.items()]
        )
        lost: list[JobId] = []
        for entries, found in zip(by_queue.values(), replies, strict=True):
            if isinstance(found, Exception):
                raise found
            lost += [entries[entry] for entry in found]
        return lost

    def _look(self, jobs: Sequence[CarriedJob]) -> list[tuple[bool, bool, bool]]:
        """Whether each job's entry is there, is finished, and the store has settled that."""
        looks = [
            ("HMGET", self._scripts.of(job.queue).entry(entry_of(job)), *_LOOKED_AT) for job in jobs
        ]
        return [_seen(found) for found in self._link.round_trip(looks)]

    def _add(self, job: CarriedJob, *, ours: bool) -> Command:
        delay = 0
        if job.state is JobState.SCHEDULED:
            delay = max(1, (job.run_at - job.created_at) // MILLISECOND)
        return self._scripts.of(job.queue).add(
            entry_of(job), job.kind, job.args,
            timestamp=int(job.created_at.timestamp() * 1000), delay=delay, priority=job.priority,
            # Where another program's worker runs it, the store still counts the attempts.
            attempts=job.max_attempts if ours else 1,
        )  # fmt: skip

    def _begin_again(self, job: CarriedJob, *, ours: bool) -> list[Command]:
        scripts, entry = self._scripts.of(job.queue), entry_of(job)
        if job.state is JobState.AVAILABLE and ours:
            # In one of the two it stands; the other call finds nothing.
            return [scripts.reprocess(entry, "failed"), scripts.reprocess(entry, "completed")]
        return [scripts.remove(entry), self._add(job, ours=ours)]

    def _bring_forward(self, job: CarriedJob, *, ours: bool) -> list[Command]:
        scripts, entry = self._scripts.of(job.queue), entry_of(job)
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


def _seen(found: Any) -> tuple[bool, bool, bool]:
    if isinstance(found, Exception):
        raise found
    name, finished_on, settled = found
    return name is not None, finished_on is not None, settled is not None
