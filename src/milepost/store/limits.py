"""The limits of queues, which people set while all runs."""

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, delete, select, type_coerce

from milepost.jobs.limits import HeldLimit
from milepost.store.clock import Clock, HostClock
from milepost.store.moments import Moment
from milepost.store.tables import limits as states
from milepost.store.tables import queue_limits
from milepost.store.upserts import insert_into

LIMITS: Final = ("concurrency", "rate", "per", "length")


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Of all workers together: how many run at once, how many begin `per`, how many may wait."""

    concurrency: int | None = None
    rate: int | None = None
    per: timedelta | None = None
    length: int | None = None

    def __str__(self) -> str:
        parts = []
        if self.concurrency is not None:
            parts.append(f"{self.concurrency} at once")
        if self.rate is not None and self.per is not None:
            parts.append(f"{self.rate} in {spell_per(self.per)}")
        if self.length is not None:
            parts.append(f"{self.length} waiting")
        return ", ".join(parts)


def spell_per(per: timedelta) -> str:
    """Spell a stretch of time as short as people write it."""
    seconds = per.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def set_limits(conn: Connection, queue: str, given: QueueLimits) -> None:
    """Give a queue these limits instead of those that it had."""
    if given == QueueLimits():
        conn.execute(delete(queue_limits).where(queue_limits.c.queue == queue))
        return
    values: dict[str, Any] = {
        "concurrency": given.concurrency,
        "rate": given.rate,
        "per": given.per and given.per.total_seconds(),
        "length": given.length,
    }
    conn.execute(
        insert_into(conn.dialect.name, queue_limits)
        .values(queue=queue, **values)
        .on_conflict_do_update(index_elements=[queue_limits.c.queue], set_=values)
    )


def all_limits(conn: Connection) -> dict[str, QueueLimits]:
    """Read the limits of all queues that have any."""
    return {row.queue: _limits(row) for row in conn.execute(select(queue_limits)).all()}


def of_queue(conn: Connection, queue: str) -> QueueLimits:
    """Read the limits of one queue."""
    row = conn.execute(select(queue_limits).where(queue_limits.c.queue == queue)).one_or_none()
    return QueueLimits() if row is None else _limits(row)


def _limits(row: Any) -> QueueLimits:
    per = None if row.per is None else timedelta(seconds=row.per)
    return QueueLimits(row.concurrency, row.rate, per, row.length)


def held(conn: Connection, clock: Clock, queue: str) -> tuple[float, tuple[HeldLimit, ...]]:
    """Read the time, in seconds since 1970, and what of a queue's limits a claim must heed."""
    row = conn.execute(_held(clock), {"queue_": queue}).one()
    key, found = f"queue {queue}", []
    if row.concurrency is not None:
        found.append(HeldLimit(key, row.concurrency))
    if row.rate is not None and row.per is not None:
        found.append(HeldLimit(f"{key} per {row.per:g}", row.rate, row.per))
    return row.now.timestamp(), tuple(found)


@lru_cache
def _held(clock: Clock) -> Select[Any]:
    present = select(type_coerce(clock.now(), Moment).label("now")).subquery("present")
    return select(present.c.now, *queue_limits.c).join_from(
        present, queue_limits, queue_limits.c.queue == bindparam("queue_"), isouter=True
    )


def turn_key(queue: str, turn: str) -> str:
    """Name the row of one who takes turns in a queue."""
    return f"turn {queue} {turn}"


def forget(conn: Connection, clock: Clock, *, keep_for: timedelta) -> None:
    """Delete what nobody has claimed under for so long; it is made again when needed."""
    if isinstance(clock, HostClock):
        now = clock.read().timestamp()
    else:
        now = conn.execute(select(clock.now())).scalar_one().timestamp()
    conn.execute(delete(states).where(states.c.served_at < now - keep_for.total_seconds()))
