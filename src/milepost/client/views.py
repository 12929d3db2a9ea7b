"""What the API tells, typed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from milepost.jobs.leases import JobId
from milepost.jobs.states import JobState


@dataclass(frozen=True, slots=True)
class RemoteProgress:
    """How far a job is. `rate` is in counts a second, `remaining` a range in seconds."""

    count: int
    total: int | None
    percentage: float | None
    message: str | None
    rate: float | None
    remaining: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteView:
    """One job as it stands; `args`, `checkpoint` and `result` are plain JSON values."""

    id: JobId
    kind: str
    queue: str
    state: JobState
    priority: int
    progress: RemoteProgress | None
    error: str | None
    attempt: int
    failures: int
    max_attempts: int
    unique_key: str | None
    tags: tuple[str, ...]
    owner: str | None
    created_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    cancel_reason: str | None
    scheduled_for: datetime | None = None
    checkpoint: Any = None
    args: Any = None
    result: Any = None


@dataclass(frozen=True, slots=True)
class RemoteCancellation:
    """What became of a request to cancel; `told` says it in a sentence."""

    id: JobId
    state: JobState
    cancelled: bool
    finished_first: bool
    told: str


@dataclass(frozen=True, slots=True)
class RemoteConnection:
    """A stored source, without its secrets. `problem`: why it cannot be read."""

    name: str
    kind: str | None
    problem: str | None
    encrypted: bool
    created_at: datetime
    updated_at: datetime
