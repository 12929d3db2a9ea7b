"""Jobs as people and programs see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Connection, Row, func, select

from milepost.errors import JobNotFound
from milepost.jobs.flows import FOR_OTHERS
from milepost.jobs.leases import JobId
from milepost.jobs.progress import Progress
from milepost.jobs.states import JobState
from milepost.store.clock import Clock
from milepost.store.encoding import decode_progress
from milepost.store.filters import EVERY_JOB, JobFilter
from milepost.store.tables import identity, jobs


@dataclass(frozen=True, kw_only=True, slots=True)
class JobView:
    """One job as it stands. `args`, `checkpoint` and `result` are JSON."""

    id: JobId
    kind: str
    queue: str
    state: JobState
    priority: int
    args: str
    checkpoint: str | None
    result: str | None
    error: str | None
    progress: Progress | None
    attempt: int
    failures: int
    max_attempts: int
    rescues: int
    time_limit: timedelta | None
    unique_key: str | None
    broker_id: str | None
    tags: tuple[str, ...]
    owner: str | None
    created_at: datetime
    run_at: datetime
    scheduled_for: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    lease_expires_at: datetime | None
    worker_id: str | None
    cancel_requested_at: datetime | None
    cancel_reason: str | None
    trace: str | None

    @property
    def waits(self) -> bool:
        """Whether it is scheduled for the end of others, and for no moment."""
        return self.state is JobState.SCHEDULED and self.run_at == FOR_OTHERS


def find(conn: Connection, job_id: JobId) -> JobView:
    """Read one job. Raises JobNotFound."""
    row = conn.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
    if row is None:
        raise JobNotFound(job_id)
    return _view(row)


def find_these(conn: Connection, job_ids: Sequence[JobId]) -> dict[JobId, JobView]:
    """Read those of these jobs that are there."""
    found = conn.execute(select(jobs).where(jobs.c.id.in_(job_ids))).all()
    return {row.id: _view(row) for row in found}


def marks(conn: Connection, job_ids: Sequence[JobId]) -> dict[JobId, tuple[Any, ...]]:
    """Read of each job what differs whenever its view does, and nothing large that cannot."""
    found = conn.execute(
        select(
            jobs.c.id, jobs.c.state, jobs.c.attempt, jobs.c.failures, jobs.c.rescues,
            jobs.c.progress, jobs.c.checkpoint, jobs.c.lease_expires_at, jobs.c.run_at,
            jobs.c.cancel_requested_at,
        ).where(jobs.c.id.in_(job_ids))
    ).all()  # fmt: skip
    return {row.id: tuple(row) for row in found}


def recent(
    conn: Connection,
    meant: JobFilter = EVERY_JOB,
    *,
    before: JobId | None = None,
    limit: int = 50,
) -> list[JobView]:
    """Read jobs, the newest first; `before` an id, to go on from a page."""
    query = select(jobs).where(*meant.conditions()).order_by(jobs.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(jobs.c.id < before)
    return [_view(row) for row in conn.execute(query).all()]


def ids(
    conn: Connection, meant: JobFilter, *, limit: int, before: JobId | None = None
) -> list[JobId]:
    """Read the ids of jobs, the newest first."""
    query = select(jobs.c.id).where(*meant.conditions()).order_by(jobs.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(jobs.c.id < before)
    return list(conn.execute(query).scalars())


def counts(conn: Connection) -> dict[tuple[str, JobState], int]:
    """How many jobs each queue has in each state."""
    found = conn.execute(
        select(jobs.c.queue, jobs.c.state, func.count()).group_by(jobs.c.queue, jobs.c.state)
    ).all()
    return {(queue, JobState(state)): count for queue, state, count in found}


def oldest_available(conn: Connection) -> dict[str, datetime]:
    """Since when the oldest available job of each queue could run."""
    found = conn.execute(
        select(jobs.c.queue, func.min(jobs.c.run_at).label("since"))
        .where(jobs.c.state == JobState.AVAILABLE)
        .group_by(jobs.c.queue)
    ).all()
    return {row.queue: row.since for row in found}


def count_expired(conn: Connection, clock: Clock, *, by: timedelta) -> int:
    """How many running jobs have had no living lease for so long: always 0 while workers run."""
    return conn.execute(
        select(func.count()).where(
            jobs.c.state == JobState.RUNNING, jobs.c.lease_expires_at < clock.now(-by)
        )
    ).scalar_one()


def next_run_at(conn: Connection) -> datetime | None:
    """When the earliest scheduled job is due."""
    due: datetime | None = conn.execute(
        select(func.min(jobs.c.run_at)).where(jobs.c.state == JobState.SCHEDULED)
    ).scalar()
    return due


def present(conn: Connection, clock: Clock) -> datetime:
    """What time the store says it is."""
    moment: datetime = conn.execute(select(clock.now())).scalar_one()
    return moment


def store_id(conn: Connection) -> str:
    """Which store this is; a copy of its own database keeps the name."""
    name: str = conn.execute(select(identity.c.id)).scalar_one()
    return name


def _view(row: Row[*tuple[object, ...]]) -> JobView:
    fields = dict(row._mapping)  # noqa: SLF001 (public in SQLAlchemy)
    limit = fields["time_limit"]
    for unseen in ("backoff", "lane", "repeat_key", "repeat_until", "awaited", "children"):
        del fields[unseen]
    return JobView(
        **{
            **fields,
            "state": JobState(fields["state"]),
            "progress": decode_progress(fields["progress"]),
            "time_limit": None if limit is None else timedelta(seconds=limit),
            "tags": tuple(from_json(fields["tags"])) if fields["tags"] else (),
        }
    )
