"""Facts that happened. Observers listen; nothing in the core waits for them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from milepost.jobs.definition import PoolName
from milepost.jobs.leases import JobId, Lease
from milepost.jobs.outcomes import Outcome
from milepost.jobs.states import JobState


@dataclass(frozen=True, slots=True)
class JobsSubmitted:
    """So many new jobs of a kind stand in the store."""

    kind: str
    queue: str
    count: int


@dataclass(frozen=True, slots=True)
class WorkerStarted:
    """A worker takes jobs from now on."""

    worker_id: str
    queues: tuple[str, ...]
    kinds: tuple[str, ...]
    concurrency: int


@dataclass(frozen=True, slots=True)
class WorkerStopping:
    """A worker takes no more jobs; `forced` when it does not wait for the running ones."""

    worker_id: str
    running: int
    forced: bool


@dataclass(frozen=True, slots=True)
class WorkerStopped:
    """A worker has given back or settled all it held."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """An attempt's handler is about to run; its job `waited_for` so long when it could have run.

    `trace` is what the job goes on with, see `jobs/tracing.py`.
    """

    lease: Lease
    kind: str
    queue: str
    pool: PoolName
    waited_for: timedelta
    trace: str | None


@dataclass(frozen=True, slots=True)
class AttemptFinished:
    """An attempt's outcome stands in the store."""

    lease: Lease
    kind: str
    queue: str
    outcome: Outcome
    state: JobState
    ran_for: timedelta


@dataclass(frozen=True, slots=True)
class CancelReachedWorker:
    """A running attempt was told to stop because somebody cancelled its job, and when he did."""

    lease: Lease
    kind: str
    requested_at: datetime | None


@dataclass(frozen=True, slots=True)
class LeaseWasLost:
    """An attempt of this worker can write nothing more; `how` says where that was noticed."""

    lease: Lease
    kind: str
    how: str


@dataclass(frozen=True, slots=True)
class JobRescued:
    """A job whose worker is gone was taken from it."""

    job_id: JobId
    attempt: int
    kind: str
    queue: str
    worker_id: str
    state: JobState
    why: str


@dataclass(frozen=True, slots=True)
class HandlerBlockedLoop:
    """A handler keeps the other coroutines of its worker waiting; `where` is file:line."""

    lease: Lease | None
    kind: str | None
    where: str
    blocked_for: timedelta


@dataclass(frozen=True, slots=True)
class AttemptLeftBehind:
    """A handler did not stop when told; it was settled and can write nothing more.

    `still` counts the handlers that were left behind in this worker and still run, this one too.
    """

    lease: Lease
    kind: str
    where: str | None
    stack: str | None
    still: int


@dataclass(frozen=True, slots=True)
class PoolUsedUp:
    """A pool takes no more attempts, for the handlers that were left behind there.

    `still` counts those that still run in this worker.
    """

    still: int


@dataclass(frozen=True, slots=True)
class TickFailed:
    """One round of a background role failed; the role goes on."""

    role: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class StoreConnectionLost:
    """A connection to the store broke, or could not be made."""

    reason: str


@dataclass(frozen=True, slots=True)
class RedisWentAway:
    """Redis does not answer; workers take jobs from the store meanwhile."""

    reason: str


@dataclass(frozen=True, slots=True)
class RedisCameBack:
    """Redis answers again."""

    away_for: timedelta


@dataclass(frozen=True, slots=True)
class RecordsDownloaded:
    """Records of a source, of that kind of source, were committed."""

    source: str
    records: int


@dataclass(frozen=True, slots=True)
class BudgetWaited:
    """A request had to wait for its turn in the budget of its credentials."""

    waits_for: timedelta


Event = (
    JobsSubmitted
    | WorkerStarted
    | WorkerStopping
    | WorkerStopped
    | AttemptStarted
    | AttemptFinished
    | CancelReachedWorker
    | LeaseWasLost
    | JobRescued
    | HandlerBlockedLoop
    | AttemptLeftBehind
    | PoolUsedUp
    | TickFailed
    | StoreConnectionLost
    | RedisWentAway
    | RedisCameBack
    | RecordsDownloaded
    | BudgetWaited
)
Observer = Callable[[Event], None]
"""Told of events, in whatever thread they happen; must not block."""
