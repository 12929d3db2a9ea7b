"""How the store stands: read when Prometheus asks, and at most once in a few seconds."""

import logging
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from milepost.redis import Link
from milepost.store import overview, reading, workers
from milepost.store.database import Database
from milepost.telemetry.names import Names

logger = logging.getLogger("milepost.telemetry")

FRESH_FOR: Final = 5.0  # seconds
# One that has not been heard of for so long does not count as a living worker.
HEARD_WITHIN: Final = timedelta(minutes=1)


@dataclass(slots=True)
class Line:
    """What stands in one queue, or in all those that have no metrics of their own."""

    scheduled: int = 0
    available: int = 0
    running: int = 0
    oldest_wait: float = 0.0
    paused: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the store."""

    now: datetime
    queues: list[overview.Queue]
    workers: int


class Standing(Collector):
    """Gauges of what the store has; a store that is away costs only these."""

    def __init__(self, database: Database, link: Link | None, names: Names) -> None:
        self._database = database
        self._link = link
        self._names = names
        self._lock = threading.Lock()
        self._seen: Seen | None = None
        self._seen_at = -math.inf

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not ask the store."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Look, or repeat what was seen a moment ago."""
        seen = self._look()
        yield GaugeMetricFamily(
            "milepost_store_up", "Whether the store answers.", value=float(seen is not None)
        )
        if self._link is not None:
            yield GaugeMetricFamily(
                "milepost_redis_up", "Whether Redis answers.", value=float(not self._link.is_away)
            )
        if seen is not None:
            yield from self._gauges(seen)

    def _look(self) -> Seen | None:
        # All who ask meanwhile wait for the one look.
        with self._lock:
            if time.monotonic() - self._seen_at < FRESH_FOR:
                return self._seen
            try:
                with self._database.read() as conn:
                    self._seen = self._read(conn)
            except Exception as error:  # noqa: BLE001 (whatever a driver raises)
                first, *_ = str(error).splitlines() or [type(error).__name__]
                logger.warning("metrics of the queues could not be read: %s", first)
                self._seen = None
            self._seen_at = time.monotonic()
            return self._seen

    def _read(self, conn: Connection) -> Seen:
        now = reading.present(conn, self._database.clock)
        living = [
            each
            for each in workers.unstopped(conn)
            if each.seen_at is not None and now - each.seen_at < HEARD_WITHIN
        ]
        return Seen(now, overview.queues(conn), len(living))

    def _gauges(self, seen: Seen) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "milepost_workers", "Workers that were heard of within a minute.", value=seen.workers
        )
        jobs = GaugeMetricFamily(
            "milepost_queue_jobs", "Jobs that have not ended.", labels=["queue", "state"]
        )
        oldest = GaugeMetricFamily(
            "milepost_queue_oldest_wait_seconds",
            "How long the oldest available job could have run by now.",
            labels=["queue"],
        )
        paused = GaugeMetricFamily(
            "milepost_queue_paused", "Queues of which nothing begins.", labels=["queue"]
        )
        for name, line in self._lines(seen).items():
            for state in ("scheduled", "available", "running"):
                jobs.add_metric([name, state], getattr(line, state))
            oldest.add_metric([name], line.oldest_wait)
            paused.add_metric([name], line.paused)
        yield from (jobs, oldest, paused)

    def _lines(self, seen: Seen) -> dict[str, Line]:
        # A queue that is empty has its zeros: an alert must see it go.
        lines = {name: Line() for name in sorted(self._names.known)}
        for queue in seen.queues:
            line = lines.setdefault(self._names.of(queue.name), Line())
            line.scheduled += queue.scheduled
            line.available += queue.available
            line.running += queue.running
            line.paused += queue.paused
            if queue.oldest is not None:
                line.oldest_wait = max(line.oldest_wait, (seen.now - queue.oldest).total_seconds())
        return lines
