"""How long the queues were, minute by minute: what no row says any more once its job has run.

A sample is of all queues together and of the longest few, so that their number stays bounded
however many queues there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, exists, func, literal, select, text

from milepost.jobs.states import JobState
from milepost.store import reading
from milepost.store.clock import Clock
from milepost.store.filters import are
from milepost.store.moments import Moment
from milepost.store.spans import seconds_between, slot_of
from milepost.store.tables import jobs, queue_samples
from milepost.store.upserts import insert_into

# No queue has this name.
ALL: Final = ""
LONGEST: Final = 20
KEEP_FOR: Final = timedelta(days=7)

_COLUMNS: Final = ("queue", "at", "available", "oldest_wait")


@dataclass(frozen=True, slots=True)
class Depth:
    """How many jobs waited at most in a stretch of time that begins `at`, and the longest wait.

    In seconds: since when the one that could run first could. Nothing where nobody looked.
    """

    at: datetime
    available: int | None
    oldest_wait: float | None


def take(conn: Connection, clock: Clock) -> bool:
    """Note how long the queues are, once a minute; False where another worker has done so."""
    minute = reading.present(conn, clock).replace(second=0, microsecond=0)
    taken = exists().where(queue_samples.c.queue == ALL, queue_samples.c.at == minute)
    now = literal(minute, Moment)
    waiting = (
        select(
            jobs.c.queue,
            func.count().label("available"),
            func.max(seconds_between(conn, jobs.c.run_at, clock.now())).label("oldest_wait"),
        )
        # Whoever comes later counts nothing.
        .where(are(JobState.AVAILABLE), ~taken)
        .group_by(jobs.c.queue)
        .cte("waiting")
    )
    longest = (
        select(waiting.c.queue, now.label("at"), waiting.c.available, waiting.c.oldest_wait)
        .order_by(waiting.c.available.desc(), waiting.c.queue)
        .limit(LONGEST)
        .subquery("longest")
    )
    together = select(
        literal(ALL), now, func.coalesce(func.sum(waiting.c.available), 0),
        func.coalesce(func.max(waiting.c.oldest_wait), 0),
        # Without a WHERE, SQLite reads the conflict clause as a join's ON.
    ).where(text("1 = 1"))  # fmt: skip
    done = conn.execute(
        insert_into(conn.dialect.name, queue_samples)
        .from_select(_COLUMNS, select(*longest.c).union_all(together))
        .on_conflict_do_nothing()
        .returning(queue_samples.c.queue)
    )
    return bool(done.all())


def forget(conn: Connection, clock: Clock) -> None:
    """Delete the samples that no chart shows any more."""
    conn.execute(delete(queue_samples).where(queue_samples.c.at < clock.now(-KEEP_FOR)))


def over_time(
    conn: Connection, clock: Clock, *, over: timedelta, slots: int, queue: str = ALL
) -> list[Depth]:
    """Read how long a queue was, or all of them together, in slots of equal length until now.

    A queue that was not among the longest counts as empty.
    """
    return _read(conn, clock, [queue, ALL], over=over, slots=slots)[queue]


def of_queues(
    conn: Connection, clock: Clock, queues: Sequence[str], *, over: timedelta, slots: int
) -> dict[str, list[Depth]]:
    """Read the same of several queues; those that were empty all the time are left out."""
    found = _read(conn, clock, [*queues, ALL], over=over, slots=slots)
    return {name: found[name] for name in queues if any(each.available for each in found[name])}


def _read(
    conn: Connection, clock: Clock, queues: Sequence[str], *, over: timedelta, slots: int
) -> dict[str, list[Depth]]:
    now = reading.present(conn, clock)
    since, each = now - over, over / slots
    slot = slot_of(conn, queue_samples.c.at, since=since, seconds=each.total_seconds())
    found = conn.execute(
        select(
            queue_samples.c.queue,
            slot.label("slot"),
            func.max(queue_samples.c.available).label("available"),
            func.max(queue_samples.c.oldest_wait).label("oldest_wait"),
        )
        .where(queue_samples.c.queue.in_(queues), queue_samples.c.at >= since)
        .group_by(queue_samples.c.queue, slot)
    ).all()
    seen = {(row.queue, min(row.slot, slots - 1)): row for row in found}

    def depth(queue: str, number: int) -> Depth:
        row = seen.get((queue, number))
        at = since + number * each
        if row is not None:
            return Depth(at, row.available, round(max(0.0, row.oldest_wait), 1))
        return Depth(at, 0, 0.0) if (ALL, number) in seen else Depth(at, None, None)

    return {queue: [depth(queue, number) for number in range(slots)] for queue in queues}
