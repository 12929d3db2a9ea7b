"""Many jobs at once: cancelled, or sent back to available."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from sqlalchemy import Connection

from milepost.app import Milepost
from milepost.brokers import announce, stop_children
from milepost.errors import JobNotFound, JobNotRetryable, UniqueKeyTaken
from milepost.jobs.leases import JobId
from milepost.jobs.states import FINAL, JobState
from milepost.signals import Signal, Topic
from milepost.store import jobs, reading
from milepost.store.filters import JobFilter
from milepost.store.flows import Moved

AT_ONCE: Final = 200
MOST: Final = 100_000

_UNFINISHED: Final = tuple(state for state in JobState if state not in FINAL)
_RETRYABLE: Final = (JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Change:
    """What was done: how many jobs were meant, and how many of them it changed.

    `more`: others are meant too, and the same call goes on with them.
    """

    meant: int
    changed: int
    more: bool


class Done(NamedTuple):
    """What one transaction has changed, and what has moved with that."""

    changed: list[JobId]
    moved: Moved


async def cancel(
    milepost: Milepost, meant: JobFilter, *, reason: str | None, dry_run: bool = False
) -> Change:
    """Ask all jobs that are meant and have not ended to stop; waits for none of them."""

    def work(conn: Connection, job_ids: Sequence[JobId]) -> Done:
        states: dict[JobId, JobState] = {}
        moved = Moved()
        for each in job_ids:
            # One that was pruned since it was named has ended long ago.
            with contextlib.suppress(JobNotFound):
                states[each] = jobs.cancel(conn, milepost.database.clock, each, reason, moved=moved)
        running = tuple(each for each, state in states.items() if state is JobState.RUNNING)
        stopped = tuple(each for each, state in states.items() if state is JobState.CANCELLED)
        if running:
            milepost.signals.announce(conn, Signal(Topic.CANCEL, job_ids=running))
        if stopped:
            milepost.signals.announce(conn, Signal(Topic.SETTLED, job_ids=stopped))
        announce(conn, milepost.signals, moved)
        return Done([*running, *stopped], moved)

    return await _each(milepost, _only(meant, _UNFINISHED), work, dry_run=dry_run)


async def retry(milepost: Milepost, meant: JobFilter, *, dry_run: bool = False) -> Change:
    """Send all failed and cancelled jobs that are meant back to available.

    One whose unique key another job has by now stays as it is.
    """

    def work(conn: Connection, job_ids: Sequence[JobId]) -> Done:
        queues: dict[JobId, str] = {}
        moved = Moved()
        for each in job_ids:
            try:
                queues[each] = jobs.retry(conn, milepost.database.clock, each, moved=moved)
            except (UniqueKeyTaken, JobNotRetryable, JobNotFound):
                continue
        for queue in set(queues.values()):
            milepost.signals.announce(conn, Signal(Topic.AVAILABLE, queue))
        announce(conn, milepost.signals, moved)
        return Done(list(queues), moved)

    return await _each(milepost, _only(meant, _RETRYABLE), work, dry_run=dry_run)


def _only(meant: JobFilter, states: Sequence[JobState]) -> JobFilter | None:
    """Mean of these jobs only those in some states; None: none is."""
    kept = [each for each in meant.states if each in states] if meant.states else states
    return replace(meant, states=kept) if kept else None


async def _each(
    milepost: Milepost,
    meant: JobFilter | None,
    work: Callable[[Connection, Sequence[JobId]], Done],
    *,
    dry_run: bool,
) -> Change:
    if meant is None:
        return Change(0, 0, more=False)
    # All of them are named before the first is changed: what comes meanwhile is not meant.
    named = await milepost.database.query(lambda conn: reading.ids(conn, meant, limit=MOST + 1))
    more, named = len(named) > MOST, named[:MOST]
    if dry_run:
        return Change(len(named), 0, more=more)
    changed = 0
    for start in range(0, len(named), AT_ONCE):
        done = await milepost.database.run(work, named[start : start + AT_ONCE])
        await milepost.broker.send([*done.changed, *done.moved.job_ids])
        changed += len(done.changed)
        if done.moved.stopping:
            await stop_children(milepost.database, milepost.signals, milepost.broker)
    return Change(len(named), changed, more=more)
