"""How a job is shown."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, Field
from pydantic_core import from_json

from milepost.jobs.progress import Estimate, Progress
from milepost.jobs.states import JobState
from milepost.store.families import Flow
from milepost.store.reading import JobView
from milepost.store.summaries import JobSummary


class PartOut(BaseModel):
    """How far one part of a job is, such as a table."""

    count: int
    total: int | None


class ProgressOut(BaseModel):
    """How far a job is; without a total there is no percentage. Times in seconds, as a range."""

    count: int
    total: int | None
    percentage: float | None
    message: str | None
    parts: dict[str, PartOut]
    rate: float | None = None
    remaining: tuple[float, float] | None = None


class JobLine(BaseModel):
    """One job in a list. `error` is cut at 300 characters. No `run_at`: it waits for others."""

    id: int
    kind: str
    queue: str
    state: JobState
    priority: int
    progress: ProgressOut | None
    error: str | None
    attempt: int
    failures: int
    max_attempts: int
    unique_key: str | None
    tags: Sequence[str]
    owner: str | None
    created_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None


class MemberOut(BaseModel):
    """A job that waits for another, or that another waits for."""

    id: int
    kind: str
    state: JobState
    error: str | None


class AttemptOut(BaseModel):
    """One attempt that has ended, and what it left the job as."""

    attempt: int
    worker_id: str | None
    started_at: datetime | None
    finished_at: datetime
    outcome: str
    state: str
    error: str | None
    traceback: str | None


class Job(JobLine):
    """One job, whole. `scheduled_for`: the moment of its schedule."""

    args: Any
    checkpoint: Any
    result: Any
    scheduled_for: datetime | None
    rescues: int
    worker_id: str | None
    lease_expires_at: datetime | None
    cancel_reason: str | None
    attempts: Sequence[AttemptOut] = ()
    parents: Sequence[MemberOut] = Field((), description="who waits for it, at most 200")
    children: dict[JobState, int] = Field(
        {}, description="how many jobs it waits for, by their states; see /jobs/{id}/children"
    )


class Jobs(BaseModel):
    """A page of jobs, the newest first; `next` is the cursor of the page after it."""

    items: Sequence[JobLine]
    next: int | None


class LogLineOut(BaseModel):
    """One line that an attempt logged."""

    id: int | None
    attempt: int
    at: datetime
    level: str
    message: str


class PointOut(BaseModel):
    """One point of a job's progress."""

    attempt: int
    at: datetime
    count: int
    total: int | None
    message: str | None


def line(summary: JobSummary) -> JobLine:
    """Show one job of a list."""
    return JobLine(
        id=summary.id, kind=summary.kind, queue=summary.queue, state=summary.state,
        priority=summary.priority, progress=progress(summary.progress), error=summary.error,
        attempt=summary.attempt, failures=summary.failures, max_attempts=summary.max_attempts,
        unique_key=summary.unique_key, tags=summary.tags, owner=summary.owner,
        created_at=summary.created_at, run_at=None if summary.waits else summary.run_at,
        started_at=summary.started_at,
        finished_at=summary.finished_at, cancel_requested_at=summary.cancel_requested_at,
    )  # fmt: skip


def job(
    view: JobView, estimate: Estimate, attempts: Sequence[Any] = (), flow: Flow | None = None
) -> Job:
    """Show one job, whole; with its attempts and its place in its flow, where they are given."""
    return Job(
        id=view.id, kind=view.kind, queue=view.queue, state=view.state, priority=view.priority,
        progress=progress(view.progress, estimate if view.state is JobState.RUNNING else None),
        error=view.error, attempt=view.attempt, failures=view.failures,
        max_attempts=view.max_attempts, unique_key=view.unique_key, tags=view.tags,
        owner=view.owner, created_at=view.created_at, run_at=None if view.waits else view.run_at,
        started_at=view.started_at, finished_at=view.finished_at,
        cancel_requested_at=view.cancel_requested_at, args=_plain(view.args),
        checkpoint=_plain(view.checkpoint), result=_plain(view.result),
        scheduled_for=view.scheduled_for, rescues=view.rescues,
        worker_id=view.worker_id if view.state is JobState.RUNNING else None,
        lease_expires_at=view.lease_expires_at, cancel_reason=view.cancel_reason,
        attempts=[AttemptOut(**_attempt(each)) for each in attempts],
        parents=[] if flow is None else [
            MemberOut(id=each.id, kind=each.kind, state=each.state, error=each.error)
            for each in flow.parents
        ],
        children={} if flow is None else flow.counts,
    )  # fmt: skip


def progress(given: Progress | None, estimate: Estimate | None = None) -> ProgressOut | None:
    """Show how far a job is."""
    if given is None:
        return None
    remaining = estimate.remaining if estimate else None
    return ProgressOut(
        count=given.count,
        total=given.total,
        percentage=given.percentage,
        message=given.message,
        parts={
            name: PartOut(count=part.count, total=part.total) for name, part in given.parts.items()
        },
        rate=estimate.rate if estimate else None,
        remaining=remaining and (_seconds(remaining[0]), _seconds(remaining[1])),
    )


def _attempt(record: Any) -> dict[str, Any]:
    return {
        name: value for name, value in asdict(record).items() if name in AttemptOut.model_fields
    }


def _plain(text: str | None) -> Any:
    return None if text is None else from_json(text)


def _seconds(time: timedelta) -> float:
    return round(time.total_seconds(), 1)
