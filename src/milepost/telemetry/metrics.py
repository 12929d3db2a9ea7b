"""What happened in this process, counted for Prometheus."""

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any, Final, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from sqlalchemy.exc import DBAPIError

from milepost.errors import RedisAway, StoreUnavailable
from milepost.jobs.events import (
    AttemptFinished,
    AttemptLeftBehind,
    AttemptStarted,
    BudgetWaited,
    CancelReachedWorker,
    Event,
    HandlerBlockedLoop,
    JobRescued,
    JobsSubmitted,
    LeaseWasLost,
    PoolUsedUp,
    RecordsDownloaded,
    RedisCameBack,
    RedisWentAway,
    StoreConnectionLost,
    TickFailed,
    WorkerStarted,
    WorkerStopped,
    WorkerStopping,
)
from milepost.jobs.leases import Lease
from milepost.jobs.outcomes import Failed
from milepost.jobs.states import FINAL, JobState
from milepost.telemetry.names import Names
from milepost.telemetry.standing import Standing

_SHORT: Final = (0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 900, 3600)
_LONG: Final = (0.01, 0.1, 1, 5, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)


class Metrics:
    """An observer of events, and the text that Prometheus reads.

    Labels are kinds of this program, queues up to a limit, and words of ours; never anything
    that grows with jobs. Of child processes their worker tells.
    """

    def __init__(self, kinds: Names, queues: Names, standing: Standing) -> None:
        self._kinds = kinds
        self._queues = queues
        self.registry = CollectorRegistry()
        self.registry.register(standing)
        ProcessCollector(registry=self.registry)
        self._lock = threading.Lock()
        self._running: dict[Lease, str] = {}
        self._cancels: dict[Lease, datetime] = {}
        self._slots: dict[str, int] = {}
        self._name()

    content_type: Final = CONTENT_TYPE_PLAIN_0_0_4
    """What the text is, for whoever sends it."""

    def text(self) -> bytes:
        """All metrics, as text. Blocks: it may ask the store."""
        # It needs no more of a registry than `collect`.
        return generate_latest(cast("CollectorRegistry", self))

    def collect(self) -> Iterator[Metric]:
        """All metrics, without since when each series is counted: that would double them."""
        for family in self.registry.collect():
            family.samples = [s for s in family.samples if not s.name.endswith("_created")]
            yield family

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"milepost_{name}", help_text, labels, registry=self.registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(f"milepost_{name}", help_text, labels, registry=self.registry)

    def _histogram(
        self, name: str, help_text: str, *labels: str, buckets: Sequence[float]
    ) -> Histogram:
        return Histogram(
            f"milepost_{name}", help_text, labels, registry=self.registry, buckets=buckets
        )

    def _name(self) -> None:
        count, gauge, spread = self._counter, self._gauge, self._histogram
        gauge("build_info", "The version that runs.", "version").labels(version("milepost")).set(1)
        self._submitted = count("jobs_submitted", "Jobs stored by this process.", "kind")
        self._free_slots = gauge("worker_slots", "How many jobs this worker runs at once.")
        self._at_work = gauge("worker_running", "Attempts that run in this worker.", "pool")
        self._waits = spread(
            "job_wait_seconds", "How long a job could have run before an attempt began.", "queue",
            buckets=(*_SHORT, 4 * 3600, 24 * 3600),
        )  # fmt: skip
        self._runs = spread("attempt_run_seconds", "How long attempts ran.", "kind", buckets=_LONG)
        self._outcomes = count("attempts", "Attempts that ended.", "kind", "outcome")
        self._finished = count("jobs_finished", "Jobs that reached a final state.", "kind", "state")
        self._retries = count("retries", "Failed attempts that are tried again.", "kind")
        self._cancelled = count("cancels", "Cancels that reached a running attempt.", "kind")
        self._cancel_takes = spread(
            "cancel_seconds", "From a cancel's request to the end of the attempt.",
            buckets=_SHORT,
        )  # fmt: skip
        self._lost = count("leases_lost", "Attempts that lost their lease.", "kind")
        self._rescued = count("rescues", "Jobs taken from workers that are gone.", "state")
        self._left = count("handlers_left_behind", "Handlers that did not stop when told.", "kind")
        self._blocked = count("loop_blocks", "Times that a handler blocked the coroutines' loop.")
        self._used_up = gauge("pool_used_up", "Whether this worker begins no more in threads.")
        self._ticks = count("role_failures", "Failed rounds of a background role.", "role")
        self._store_errors = count("store_errors", "Lost connections and errors of the store.")
        self._broker_errors = count("broker_errors", "Times that Redis went away or refused.")
        self._records = count("records_downloaded", "Records that were committed.", "source")
        self._budget = spread(
            "budget_wait_seconds", "How long requests waited for their budget.", buckets=_SHORT
        )
        for pool in ("coroutine", "thread", "process"):
            self._at_work.labels(pool).set(0)
        for kind in self._kinds.known:
            for state in FINAL:
                # From the start, or the first failure would be no increase.
                self._finished.labels(kind, state).inc(0)

    def observe(self, event: Event) -> None:
        """Count an event."""
        match event:
            case JobsSubmitted():
                self._submitted.labels(self._kind(event.kind)).inc(event.count)
            case WorkerStarted():
                self._slots[event.worker_id] = event.concurrency
                self._free_slots.set(sum(self._slots.values()))
            case WorkerStopping():
                pass
            case WorkerStopped():
                self._slots.pop(event.worker_id, None)
                self._free_slots.set(sum(self._slots.values()))
            case AttemptStarted():
                self._begin(event)
            case AttemptFinished():
                self._finish(event)
            case CancelReachedWorker():
                self._cancelled.labels(self._kind(event.kind)).inc()
                if event.requested_at is not None:
                    self._cancels[event.lease] = event.requested_at
            case LeaseWasLost():
                self._lost.labels(self._kind(event.kind)).inc()
                self._end(event.lease)
            case JobRescued():
                self._rescued.labels(event.state).inc()
                if event.state in FINAL:
                    self._finished.labels(self._kind(event.kind), event.state).inc()
            case HandlerBlockedLoop():
                self._blocked.inc()
            case AttemptLeftBehind():
                self._left.labels(self._kind(event.kind)).inc()
            case PoolUsedUp():
                self._used_up.set(1)
            case _:
                self._observe_surroundings(event)

    def _observe_surroundings(self, event: Any) -> None:
        match event:
            case TickFailed():
                self._ticks.labels(event.role).inc()
                # What was lost has told of itself.
                if isinstance(event.error, DBAPIError):
                    self._store_errors.inc()
                elif not isinstance(event.error, StoreUnavailable | RedisAway):
                    self._note_broker(event.error)
            case StoreConnectionLost():
                self._store_errors.inc()
            case RedisWentAway():
                self._broker_errors.inc()
            case RedisCameBack():
                pass
            case RecordsDownloaded():
                self._records.labels(event.source).inc(event.records)
            case BudgetWaited():
                self._budget.observe(event.waits_for.total_seconds())

    def _note_broker(self, error: BaseException) -> None:
        if type(error).__module__.partition(".")[0] == "redis":
            self._broker_errors.inc()

    def _kind(self, kind: str) -> str:
        return self._kinds.of(kind)

    def _begin(self, event: AttemptStarted) -> None:
        self._waits.labels(self._queues.of(event.queue)).observe(event.waited_for.total_seconds())
        with self._lock:
            self._running[event.lease] = event.pool
        self._at_work.labels(event.pool).inc()

    def _finish(self, event: AttemptFinished) -> None:
        kind = self._kind(event.kind)
        self._runs.labels(kind).observe(event.ran_for.total_seconds())
        self._outcomes.labels(kind, type(event.outcome).__name__.lower()).inc()
        if event.state in FINAL:
            self._finished.labels(kind, event.state).inc()
        elif isinstance(event.outcome, Failed) and event.state is JobState.SCHEDULED:
            self._retries.labels(kind).inc()
        asked_at = self._cancels.get(event.lease)
        if asked_at is not None:
            took = datetime.now(UTC) - asked_at
            # The clocks of two machines may differ.
            self._cancel_takes.observe(max(took, timedelta(0)).total_seconds())
        self._end(event.lease)

    def _end(self, lease: Lease) -> None:
        self._cancels.pop(lease, None)
        with self._lock:
            pool = self._running.pop(lease, None)
        if pool is not None:
            self._at_work.labels(pool).dec()
