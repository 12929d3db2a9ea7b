"""Jobs as lists show them: without args, checkpoint and result, which may be megabytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json
from sqlalchemy import Connection, Row, Select, func, select

from milepost.jobs.flows import FOR_OTHERS
from milepost.jobs.leases import JobId
from milepost.jobs.progress import Progress
from milepost.jobs.states import FINAL, JobState
from milepost.store.encoding import decode_progress
from milepost.store.filters import EVERY_JOB, JobFilter, are
from milepost.store.tables import jobs

LONGEST_ERROR: Final = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSummary:
    """One job in a list. `error` is cut."""

    id: JobId
    kind: str
    queue: str
    state: JobState
    priority: int
    error: str | None
    progress: Progress | None
    attempt: int
    failures: int
    max_attempts: int
    unique_key: str | None
    tags: tuple[str, ...]
    owner: str | None
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None

    @property
    def waits(self) -> bool:
        """Whether it is scheduled for the end of others, and for no moment."""
        return self.state is JobState.SCHEDULED and self.run_at == FOR_OTHERS


def newest(
    conn: Connection,
    meant: JobFilter = EVERY_JOB,
    *,
    before: JobId | None = None,
    limit: int = 50,
) -> list[JobSummary]:
    """Read jobs, the newest first; `before` an id, to go on from a page."""
    query = _columns().where(*meant.conditions()).order_by(jobs.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(jobs.c.id < before)
    return _read(conn, query)


def stirring(
    conn: Connection, *, after: JobId, ended_since: datetime, limit: int
) -> list[JobSummary]:
    """Read what may have changed: what runs, what came after a job, what ended since a moment.

    Of each of the three at most `limit`, the newest.
    """
    found: dict[JobId, JobSummary] = {}
    for query in (
        _columns().where(are(JobState.RUNNING)).order_by(jobs.c.id.desc()),
        _columns().where(jobs.c.id > after).order_by(jobs.c.id.desc()),
        _columns()
        .where(
            are(*FINAL),
            jobs.c.finished_at >= ended_since,
        )
        .order_by(jobs.c.finished_at.desc()),
    ):
        found.update({each.id: each for each in _read(conn, query.limit(limit))})
    return sorted(found.values(), key=lambda each: each.id)


def of_ids(conn: Connection, job_ids: Sequence[JobId]) -> list[JobSummary]:
    """Read those of these jobs that are there."""
    return _read(conn, _columns().where(jobs.c.id.in_(job_ids)))


def newest_id(conn: Connection) -> JobId:
    """Read the id of the newest job; 0 where there is none."""
    found: JobId = conn.execute(select(func.coalesce(func.max(jobs.c.id), 0))).scalar_one()
    return found


def names(conn: Connection) -> tuple[list[str], list[str]]:
    """Read the kinds and the queues of the newest thousand jobs."""
    some = select(jobs.c.kind, jobs.c.queue).order_by(jobs.c.id.desc()).limit(1000).subquery()
    found = conn.execute(select(some.c.kind, some.c.queue).distinct()).all()
    return sorted({row.kind for row in found}), sorted({row.queue for row in found})


def _columns() -> Select[Any]:
    return select(
        jobs.c.id, jobs.c.kind, jobs.c.queue, jobs.c.state, jobs.c.priority,
        func.substr(jobs.c.error, 1, LONGEST_ERROR).label("error"),
        jobs.c.progress, jobs.c.attempt, jobs.c.failures, jobs.c.max_attempts,
        jobs.c.unique_key, jobs.c.tags, jobs.c.owner, jobs.c.created_at, jobs.c.run_at,
        jobs.c.started_at, jobs.c.finished_at, jobs.c.cancel_requested_at,
    )  # fmt: skip


def _read(conn: Connection, query: Select[Any]) -> list[JobSummary]:
    return [_summary(row) for row in conn.execute(query).all()]


def _summary(row: Row[Any]) -> JobSummary:
    fields = dict(row._mapping)  # noqa: SLF001 (public in SQLAlchemy)
    return JobSummary(
        **{
            **fields,
            "state": JobState(fields["state"]),
            "progress": decode_progress(fields["progress"]),
            "tags": tuple(from_json(fields["tags"])) if fields["tags"] else (),
        }
    )
