"""Progress: the newest stands with the job, a bounded history beside it."""

import logging
from collections.abc import Mapping
from typing import Final

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    Text,
    case,
    delete,
    func,
    insert,
    select,
    update,
)

from milepost.jobs.leases import HeldLease, JobId, Lease
from milepost.jobs.progress import Progress, ProgressPoint
from milepost.jobs.states import JobState
from milepost.store.batches import held, rows
from milepost.store.clock import Clock
from milepost.store.encoding import encode_progress, storable
from milepost.store.tables import jobs, progress_points

logger = logging.getLogger("milepost.jobs")

MOST_POINTS: Final = 240

_REPORTED: Final = {"id": BigInteger, "attempt": Integer, "progress": Text, "checkpoint": Text}


def report(
    conn: Connection,
    clock: Clock,
    reported: Mapping[Lease, Progress],
    *,
    checkpoints: Mapping[Lease, str],
) -> list[HeldLease]:
    """Write the newest progress of running attempts; returns those that still hold their lease.

    `checkpoints` are copies, for people to see, of those that are kept in another database.
    A new checkpoint also proves that the job moves, and that its worker's deaths so far were not
    its doing.
    """
    spelled = _spell(reported)
    given = held(conn.dialect.name, _REPORTED)
    moved = conn.execute(
        update(jobs)
        .where(
            jobs.c.id == given.c.id,
            jobs.c.attempt == given.c.attempt,
            jobs.c.state == JobState.RUNNING,
        )
        .values(
            progress=func.coalesce(given.c.progress, jobs.c.progress),
            checkpoint=func.coalesce(given.c.checkpoint, jobs.c.checkpoint),
            rescues=case(
                (given.c.checkpoint.is_(None), jobs.c.rescues),
                (given.c.checkpoint == jobs.c.checkpoint, jobs.c.rescues),
                else_=0,
            ),
        )
        .returning(jobs.c.id, jobs.c.attempt, jobs.c.cancel_requested_at, jobs.c.cancel_reason),
        rows(
            [
                {
                    "id": lease.job_id,
                    "attempt": lease.attempt,
                    "progress": spelled.get(lease),
                    "checkpoint": checkpoints.get(lease),
                }
                for lease in reported.keys() | checkpoints.keys()
            ]
        ),
    ).all()
    leases = [
        HeldLease(
            Lease(row.id, row.attempt),
            row.cancel_requested_at is not None,
            row.cancel_reason,
            row.cancel_requested_at,
        )
        for row in moved
    ]
    moving = [each.lease for each in leases if each.lease in spelled]
    if moving:
        conn.execute(
            insert(progress_points).values(at=clock.now()),
            [
                {
                    "job_id": lease.job_id,
                    "attempt": lease.attempt,
                    "count": progress.count,
                    "total": progress.total,
                    "message": progress.message and storable(progress.message),
                }
                for lease in moving
                for progress in [reported[lease]]
            ],
        )
    for lease in moving:
        _thin(conn, lease.job_id)
    return leases


def _spell(reported: Mapping[Lease, Progress]) -> dict[Lease, str]:
    spelled = {}
    for lease, progress in reported.items():
        try:
            spelled[lease] = encode_progress(progress)
        except Exception:
            # Dropped alone: with it the progress of every other job would wait for ever.
            logger.exception("%s reported progress that cannot be stored", lease)
    return spelled


def _thin(conn: Connection, job_id: JobId) -> None:
    """Past the limit drop every second point, so that the whole course stays visible."""
    count = conn.execute(
        select(func.count()).where(progress_points.c.job_id == job_id)
    ).scalar_one()
    if count <= MOST_POINTS:
        return
    ranked = (
        select(
            progress_points.c.id,
            # Counted from the newest: the last point is always kept.
            func.row_number().over(order_by=progress_points.c.id.desc()).label("age"),
        )
        .where(progress_points.c.job_id == job_id)
        .subquery()
    )
    conn.execute(
        delete(progress_points).where(
            progress_points.c.id.in_(select(ranked.c.id).where(ranked.c.age % 2 == 0))
        )
    )


def of_job(conn: Connection, job_id: JobId) -> list[ProgressPoint]:
    """Read a job's progress history, the oldest first."""
    found = conn.execute(
        select(progress_points)
        .where(progress_points.c.job_id == job_id)
        .order_by(progress_points.c.id)
    ).all()
    return [
        ProgressPoint(row.attempt, row.at, count, row.total, row.message)
        for row in found
        for count in [row._mapping["count"]]  # noqa: SLF001 (a row's own `count` is a method)
    ]
