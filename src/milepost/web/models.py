"""What the API takes and gives."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from milepost.jobs.backoff import LONGEST_WAIT
from milepost.jobs.leases import LARGEST_ID
from milepost.jobs.outcomes import OnFailure
from milepost.jobs.progress import Estimate, Progress
from milepost.jobs.requests import LONGEST_NAME, LOWEST_PRIORITY
from milepost.jobs.states import JobState
from milepost.store.families import Flow
from milepost.store.reading import JobView
from milepost.store.summaries import JobSummary

# PostgreSQL's texts hold no NUL.
NO_NUL: Final = r"^[^\x00]*$"
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=NO_NUL)]
Reason = Annotated[str, Field(max_length=1000, pattern=NO_NUL)]
Priority = Annotated[int, Field(ge=0, le=LOWEST_PRIORITY)]
JobNumber = Annotated[int, Field(ge=1, le=LARGEST_ID)]
Seconds = Annotated[float, Field(gt=0, le=LONGEST_WAIT.total_seconds())]


class Body(BaseModel):
    """What is sent to us: a field that we do not know is a mistake."""

    model_config = ConfigDict(extra="forbid")


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
    """One job, whole."""

    args: Any
    checkpoint: Any
    result: Any
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


class Submission(Body):
    """A job to be run. What is not given comes from its definition."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"kind": "import-orders", "args": {"shop": "acme"}, "priority": 5}]
        },
    )

    kind: Name
    args: Any = Field(description="as the definition of the kind says")
    queue: Name | None = None
    priority: Priority | None = None
    delay: Seconds | None = Field(None, description="seconds from now")
    run_at: datetime | None = Field(None, description="with a time zone; not together with delay")
    max_attempts: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    time_limit: Seconds | None = Field(None, description="seconds")
    unique_key: Name | None = Field(
        None, description="while an unfinished job has it, that job is the answer"
    )
    tags: Annotated[list[Name], Field(max_length=50)] = []
    owner: Name | None = None
    after: Annotated[list[JobNumber], Field(max_length=10_000)] = Field(
        [], description="jobs that must have ended before it begins"
    )
    on_failure: OnFailure | None = Field(
        None, description="where one of those fails: fail, cancel the others too, or go on"
    )


class Submitted(BaseModel):
    """The job there is now. `existed`: it was there already, by its key."""

    id: int
    state: JobState
    existed: bool


class CancelOrder(Body):
    """Why, and how long to wait for what becomes of it (seconds)."""

    reason: Reason | None = None
    wait: Annotated[float, Field(ge=0, le=60)] = 5.0


class Cancelled(BaseModel):
    """What became of a request to cancel, also as a sentence."""

    id: int
    state: JobState
    cancelled: bool
    finished_first: bool
    told: str


class Changes(Body):
    """What can be changed of a job that has not ended."""

    priority: Priority


class Meant(Body):
    """Which jobs are meant: all that fit everything that is given."""

    states: Sequence[JobState] = ()
    kind: Name | None = None
    queue: Name | None = None
    owner: Name | None = None
    tag: Name | None = None
    search: Name | None = None


class BulkOrder(Body):
    """What to do with all jobs that fit `meant`, at most 100,000 at once."""

    meant: Meant
    reason: Reason | None = None
    dry_run: bool = False


class BulkDone(BaseModel):
    """How many jobs were meant and how many changed; `more`: the same call goes on."""

    meant: int
    changed: int
    more: bool


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


class QueueOut(BaseModel):
    """What waits and runs in a queue; of a paused one nothing begins.

    `oldest`: since when its first job could run.
    """

    name: str
    scheduled: int
    available: int
    running: int
    oldest: datetime | None
    paused: bool


class WorkerOut(BaseModel):
    """A worker; one that was not seen for longer than a lease is likely dead."""

    id: str
    host: str
    pid: int
    version: str
    queues: Sequence[str]
    concurrency: int
    running: int
    started_at: datetime
    seen_at: datetime


class DefinitionOut(BaseModel):
    """A kind of job; `args` is a JSON Schema."""

    kind: str
    queue: str
    priority: int
    max_attempts: int
    pool: Literal["coroutine", "thread", "process"]
    time_limit: float | None
    args: dict[str, Any]


class ConnectionOut(BaseModel):
    """A stored source, without its secrets. `problem`: why it cannot be read."""

    name: str
    kind: str | None
    problem: str | None
    encrypted: bool
    created_at: datetime
    updated_at: datetime


class SnapshotOut(BaseModel):
    """A snapshot: what it mirrors and where. No tables: all that the source has."""

    name: str
    source: str
    into: str
    tables: Sequence[str]
    created_at: datetime
    updated_at: datetime


class TableOut(BaseModel):
    """One table of a snapshot; `rows` counts those marked as deleted too."""

    name: str
    rows: int
    deleted: int
    columns: dict[str, str]


class SyncOrder(Body):
    """Which tables to sync; none: all. `anew`: all of a source that could give what is new."""

    tables: Annotated[list[Name], Field(max_length=1000)] = []
    anew: bool = False
    allow_mass_deletion: bool = False


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
        checkpoint=_plain(view.checkpoint), result=_plain(view.result), rescues=view.rescues,
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
