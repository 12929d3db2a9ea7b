"""Scheduled jobs whose time has come."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import CTE, Connection, select, update

from milepost.jobs.leases import JobId
from milepost.jobs.states import JobState
from milepost.store.batches import ids, is_named
from milepost.store.clock import Clock
from milepost.store.jobs.rows import is_just
from milepost.store.tables import jobs

S = JobState


class QueuedJob(NamedTuple):
    """A job and its queue."""

    job_id: JobId
    queue: str


def promote(conn: Connection, clock: Clock, *, limit: int) -> list[QueuedJob]:
    """Make scheduled jobs available whose time has come."""
    due = (
        select(jobs.c.id)
        .where(jobs.c.state == S.SCHEDULED, jobs.c.run_at <= clock.now())
        .order_by(jobs.c.run_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return _promote(conn, due, {})


def promote_these(conn: Connection, clock: Clock, job_ids: Sequence[JobId]) -> list[QueuedJob]:
    """Make those of these jobs available that are scheduled and due."""
    due = (
        select(jobs.c.id)
        .where(
            is_named(conn.dialect.name, jobs.c.id),
            is_just(S.SCHEDULED),
            jobs.c.run_at <= clock.now(),
        )
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return _promote(conn, due, ids(job_ids))


def _promote(conn: Connection, due: CTE, parameters: Mapping[str, Any]) -> list[QueuedJob]:
    promoted = conn.execute(
        update(jobs)
        .where(jobs.c.id == due.c.id, jobs.c.state == S.SCHEDULED)
        .values(state=S.AVAILABLE)
        .returning(jobs.c.id, jobs.c.queue),
        parameters,
    )
    return [QueuedJob(row.id, row.queue) for row in promoted.all()]
