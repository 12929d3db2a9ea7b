"""Jobs that are to stop."""

from collections.abc import Sequence

from sqlalchemy import Connection, case, func, select, tuple_, update

from milepost.jobs.leases import HeldLease, JobId, Lease
from milepost.jobs.states import JobState
from milepost.store import flows
from milepost.store.batches import ids, is_named
from milepost.store.clock import Clock
from milepost.store.encoding import storable
from milepost.store.flows import Moved
from milepost.store.jobs.rows import children_when, kept_repeat_key, state_of
from milepost.store.tables import STOP, jobs

S = JobState


def cancel(
    conn: Connection,
    clock: Clock,
    job_id: JobId,
    reason: str | None,
    *,
    moved: Moved | None = None,
) -> JobState:
    """Ask a job to stop, and say which state that leaves it in.

    Cancelled: it never starts (again). Running: the request stands, its attempt will see it.
    Completed, failed or cancelled before: it had finished first. Raises JobNotFound.
    """
    moved = Moved() if moved is None else moved
    asked = cancel_these(conn, clock, [job_id], reason, moved=moved)
    return asked[job_id] if job_id in asked else state_of(conn, job_id)


def cancel_these(
    conn: Connection,
    clock: Clock,
    job_ids: Sequence[JobId],
    reason: str | None,
    *,
    moved: Moved,
) -> dict[JobId, JobState]:
    """Ask jobs to stop; returns the states of those that had not ended. See `cancel`."""
    asked = conn.execute(
        update(jobs)
        .where(
            is_named(conn.dialect.name, jobs.c.id),
            jobs.c.state.in_((S.SCHEDULED, S.AVAILABLE, S.RUNNING)),
        )
        .values(
            state=case((jobs.c.state == S.RUNNING, S.RUNNING), else_=S.CANCELLED),
            cancel_requested_at=func.coalesce(jobs.c.cancel_requested_at, clock.now()),
            cancel_reason=func.coalesce(jobs.c.cancel_reason, reason and storable(reason)),
            repeat_key=kept_repeat_key(),
            finished_at=case((jobs.c.state == S.RUNNING, None), else_=clock.now()),
            children=children_when(jobs.c.state != S.RUNNING),
        )
        .returning(jobs.c.id, jobs.c.state, jobs.c.awaited, jobs.c.children),
        ids(job_ids),
    ).all()
    moved.stopping = moved.stopping or any(row.children == STOP for row in asked)
    ended = {row.id: S.CANCELLED for row in asked if row.awaited and row.state == S.CANCELLED}
    if ended:
        flows.settled(conn, clock, ended, moved)
    return {row.id: JobState(row.state) for row in asked}


def cancel_requests(conn: Connection, leases: Sequence[Lease]) -> list[HeldLease]:
    """Which of these attempts are to stop, with the reason given."""
    asked = conn.execute(
        select(jobs.c.id, jobs.c.attempt, jobs.c.cancel_reason, jobs.c.cancel_requested_at).where(
            tuple_(jobs.c.id, jobs.c.attempt).in_([(x.job_id, x.attempt) for x in leases]),
            jobs.c.state == S.RUNNING,
            jobs.c.cancel_requested_at.is_not(None),
        )
    ).all()
    return [
        HeldLease(Lease(row.id, row.attempt), True, row.cancel_reason, row.cancel_requested_at)
        for row in asked
    ]
