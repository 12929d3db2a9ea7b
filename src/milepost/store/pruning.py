"""History does not grow for ever: what is finished long enough is deleted, a little at a time."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, select

from milepost.jobs.leases import JobId
from milepost.jobs.states import FINAL, JobState
from milepost.store.clock import Clock
from milepost.store.tables import attempts, family, jobs, joins, log_lines, progress_points, workers


def prune(
    conn: Connection,
    clock: Clock,
    *,
    keep_for: dict[JobState, timedelta],
    limit: int = 500,
) -> int:
    """Delete finished jobs past their time, with all that hangs on them; returns how many.

    A job that others wait for stays until they have completed, or are deleted themselves: its
    result is theirs to read, also after a retry.

    A caller that gets `limit` back calls again: small transactions let others in between.
    """
    pruned = 0
    for state in FINAL & keep_for.keys():
        old = list(
            conn.execute(
                select(jobs.c.id)
                .where(
                    jobs.c.state == state,
                    jobs.c.finished_at < clock.now(-keep_for[state]),
                    ~is_needed(),
                )
                .limit(limit - pruned)
                .with_for_update(skip_locked=True)
            ).scalars()
        )
        pruned += forget(conn, old)
    return pruned


def forget(conn: Connection, job_ids: Sequence[JobId]) -> int:
    """Delete jobs that this transaction has locked, and what hangs on them; returns how many."""
    if job_ids:
        for table in (attempts, progress_points, log_lines, joins, family):
            conn.execute(delete(table).where(table.c.job_id.in_(job_ids)))
        conn.execute(delete(family).where(family.c.child_id.in_(job_ids)))
        conn.execute(delete(jobs).where(jobs.c.id.in_(job_ids)))
    return len(job_ids)


def is_needed() -> ColumnElement[bool]:
    """Whether another job may still read what one has returned."""
    parent = jobs.alias("parent")
    reads = (
        select(parent.c.id)
        .join_from(family, parent, parent.c.id == family.c.job_id)
        .where(family.c.child_id == jobs.c.id, parent.c.state != JobState.COMPLETED)
        .exists()
    )
    return and_(jobs.c.awaited, reads)


def forget_workers(conn: Connection, clock: Clock, *, keep_for: timedelta) -> None:
    """Delete workers that have not been seen for long."""
    conn.execute(delete(workers).where(workers.c.seen_at < clock.now(-keep_for)))
