"""How much waits in a queue, and whether it may be more."""

import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Final

from sqlalchemy import Connection, func, select, text

from milepost.errors import QueueFull
from milepost.jobs.states import FINAL
from milepost.store import limits
from milepost.store.clock import Clock
from milepost.store.tables import jobs

# Between two counts, what this process has added is counted along.
COUNT_AFTER: Final = 1.0
# Of a queue that was full it is asked more often.
COUNT_FULL_AFTER: Final = 0.1
# Of this process's time, counting takes at most one part in so many.
SHARE: Final = 20
OF_LATE: Final = timedelta(minutes=1)
SHORTEST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 3600.0


@dataclass(slots=True)
class _Count:
    most: int
    waiting: int
    at: float
    took: float
    # How many have ended of late; read when somebody has to wait.
    ended: int | None = None

    def is_old(self, more: int) -> bool:
        after = COUNT_FULL_AFTER if self.waiting + more > self.most else COUNT_AFTER
        return time.monotonic() - self.at > max(after, SHARE * self.took)


class Lengths:
    """Keeps queues from growing without end. One for each program that submits.

    It counts now and then, not at each submit, and only as far as the limit: several programs
    together may pass it by what they add within a second.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._counts: dict[str, _Count] = {}
        self._lock = threading.Lock()

    def check(self, conn: Connection, clock: Clock, queues: Iterable[str]) -> None:
        """Make room for one more job in each of these queues. Raises QueueFull."""
        for queue, more in Counter(queues).items():
            with self._lock:
                count = self._counts.get(queue)
            if count is None or count.is_old(more):
                count = self._count(conn, queue)
            with self._lock:
                self._counts[queue] = count
                full = count.waiting + more > count.most
                if not full:
                    count.waiting += more
            if full:
                if count.ended is None:
                    count.ended = _ended_of_late(conn, clock, queue)
                excess = count.waiting + more - count.most
                raise QueueFull(queue, count.waiting, count.most, _wait(excess, count.ended))

    def take_back(self, queues: Iterable[str]) -> None:
        """Note that these jobs were there already."""
        with self._lock:
            for queue in queues:
                if (count := self._counts.get(queue)) is not None and count.waiting > 0:
                    count.waiting -= 1

    def _count(self, conn: Connection, queue: str) -> _Count:
        began = time.monotonic()
        own = limits.of_queue(conn, queue).length
        most = self._most if own is None else own
        some = (
            select(jobs.c.id)
            .where(jobs.c.queue == queue, text("state = 'available'"))
            .limit(most + 1)
            .subquery()
        )
        waiting = conn.execute(select(func.count()).select_from(some)).scalar_one()
        now = time.monotonic()
        return _Count(most, waiting, now, now - began)


def _ended_of_late(conn: Connection, clock: Clock, queue: str) -> int:
    return conn.execute(
        select(func.count()).where(
            text("finished_at IS NOT NULL"), jobs.c.state.in_(FINAL), jobs.c.queue == queue,
            jobs.c.finished_at > clock.now(-OF_LATE),
        )
    ).scalar_one()  # fmt: skip


def _wait(excess: int, ended: int) -> timedelta:
    """Estimate how long it takes until so many fewer wait."""
    if not ended:
        return OF_LATE
    seconds = excess * OF_LATE.total_seconds() / ended
    return timedelta(seconds=ceil(min(LONGEST_WAIT, max(SHORTEST_WAIT, seconds))))
