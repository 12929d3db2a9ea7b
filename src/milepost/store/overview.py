"""How the whole store is doing: what waits, what was done of late, and how it went."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select

from milepost.jobs.states import FINAL, JobState
from milepost.store import limits, pauses, reading
from milepost.store.clock import Clock
from milepost.store.filters import are
from milepost.store.limits import QueueLimits
from milepost.store.spans import seconds_between, slot_of
from milepost.store.tables import jobs

# Enough for a percentile, and read in no time.
MOST_DURATIONS: Final = 2000
MOST_FAILURES: Final = 1000
MOST_KINDS: Final = 20
LONGEST_REASON: Final = 160


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits and runs in a queue; of a paused one nothing begins.

    `oldest` is since when its first job could run.
    """

    name: str
    scheduled: int
    available: int
    running: int
    oldest: datetime | None
    paused: bool
    limits: QueueLimits


@dataclass(frozen=True, slots=True)
class Slot:
    """How many jobs ended in a stretch of time that begins `at`.

    `longest_wait` is in seconds: how long one of them could have run before its last attempt began.
    """

    at: datetime
    completed: int
    failed: int
    cancelled: int
    longest_wait: float


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed jobs that say the same: how many, of what kinds, and the newest of them."""

    error: str
    count: int
    kinds: Sequence[str]
    newest_id: int
    newest_at: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    """The last stretch of time, in slots of equal length; times of completed jobs in seconds."""

    at: datetime
    since: datetime
    slots: Sequence[Slot]
    completed: int
    failed: int
    cancelled: int
    p50: float | None
    p95: float | None
    failed_by_kind: Mapping[str, int]

    @property
    def success_rate(self) -> float | None:
        """From 0 to 1, of those that completed or failed; None where there are none."""
        ended = self.completed + self.failed
        return self.completed / ended if ended else None


def queues(
    conn: Connection, *, after: str = "", limit: int | None = None, longest: bool = False
) -> list[Queue]:
    """Read the queues that hold something that has not ended, are paused, or have limits.

    In the order of their names, those after a name, at most so many; or the longest first.
    """
    # Each state by itself: each has a partial index, and those that have ended are many.
    counts: Counter[tuple[str, JobState]] = Counter()
    for state in (JobState.SCHEDULED, JobState.AVAILABLE, JobState.RUNNING):
        found = conn.execute(
            select(jobs.c.queue, func.count()).where(are(state)).group_by(jobs.c.queue)
        ).all()
        counts.update({(queue, state): count for queue, count in found})
    oldest = reading.oldest_available(conn)
    paused, limited = pauses.paused(conn), limits.all_limits(conn)
    known = {queue for queue, _ in counts} | paused | limited.keys()
    names = sorted(name for name in known if name > after)
    if longest:
        names.sort(key=lambda name: counts[name, JobState.AVAILABLE], reverse=True)
    return [
        Queue(
            name,
            counts[name, JobState.SCHEDULED],
            counts[name, JobState.AVAILABLE],
            counts[name, JobState.RUNNING],
            oldest.get(name),
            name in paused,
            limited.get(name, QueueLimits()),
        )
        for name in names[:limit]
    ]


def look_back(
    conn: Connection, clock: Clock, *, over: timedelta, slots: int, owner: str | None = None
) -> Overview:
    """Read what ended in a stretch of time until now."""
    now = reading.present(conn, clock)
    since = now - over
    each = over / slots
    own = [] if owner is None else [jobs.c.owner == owner]
    counted: list[Counter[JobState]] = [Counter() for _ in range(slots)]
    waits = [0.0] * slots
    slot = slot_of(conn, jobs.c.finished_at, since=since, seconds=each.total_seconds()).label(
        "slot"
    )
    wait = func.max(seconds_between(conn, jobs.c.run_at, jobs.c.started_at)).label("wait")
    for state in FINAL:
        found = conn.execute(
            select(slot, func.count().label("jobs"), wait)
            .where(are(state), jobs.c.finished_at >= since, *own)
            .group_by(slot)
        ).all()
        for row in found:
            # What ends while this looks counts as of the last slot.
            number = min(max(0, row.slot), slots - 1)
            counted[number][state] += row.jobs
            waits[number] = max(waits[number], float(row.wait or 0))
    failed = conn.execute(
        select(jobs.c.kind, func.count().label("jobs"))
        .where(are(JobState.FAILED), jobs.c.finished_at >= since, *own)
        .group_by(jobs.c.kind)
        .order_by(func.count().desc())
        .limit(MOST_KINDS)
    ).all()
    took = conn.execute(
        select(jobs.c.started_at, jobs.c.finished_at)
        .where(are(JobState.COMPLETED), jobs.c.finished_at >= since, *own)
        .order_by(jobs.c.finished_at.desc())
        .limit(MOST_DURATIONS)
    ).all()
    seconds = sorted(
        (row.finished_at - row.started_at).total_seconds()
        for row in took
        if row.started_at is not None
    )
    total: Counter[JobState] = sum(counted, Counter())
    return Overview(
        now,
        since,
        [
            Slot(
                since + n * each,
                slot[JobState.COMPLETED],
                slot[JobState.FAILED],
                slot[JobState.CANCELLED],
                round(waits[n], 3),
            )
            for n, slot in enumerate(counted)
        ],
        total[JobState.COMPLETED],
        total[JobState.FAILED],
        total[JobState.CANCELLED],
        _percentile(seconds, 0.5),
        _percentile(seconds, 0.95),
        {row.kind: row.jobs for row in failed},
    )


def failures(conn: Connection, *, owner: str | None = None) -> list[Failures]:
    """Group the newest failed jobs by the first line of their error, the largest group first."""
    query = (
        select(jobs.c.id, jobs.c.kind, jobs.c.error, jobs.c.finished_at)
        .where(are(JobState.FAILED))
        .order_by(jobs.c.finished_at.desc())
        .limit(MOST_FAILURES)
    )
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    groups: dict[str, list[tuple[int, str, datetime]]] = {}
    for row in conn.execute(query).all():
        reason = (row.error or "no reason is known").partition("\n")[0][:LONGEST_REASON]
        groups.setdefault(reason, []).append((row.id, row.kind, row.finished_at))
    grouped = [
        Failures(error, len(them), sorted({kind for _, kind, _ in them}), them[0][0], them[0][2])
        for error, them in groups.items()
    ]
    return sorted(grouped, key=lambda group: -group.count)


def _percentile(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None
