"""Leases that go on, and those that have expired."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Connection, Integer, select, update

from milepost.jobs.leases import HeldLease, Lease
from milepost.jobs.states import JobState
from milepost.store.batches import held, rows
from milepost.store.clock import Clock
from milepost.store.tables import jobs

S = JobState


def renew(
    conn: Connection, clock: Clock, leases: Sequence[Lease], *, lease_for: timedelta
) -> list[HeldLease]:
    """Extend leases; those not returned are lost."""
    named = held(conn.dialect.name, {"id": BigInteger, "attempt": Integer})
    extended = conn.execute(
        update(jobs)
        .where(
            jobs.c.id == named.c.id,
            jobs.c.attempt == named.c.attempt,
            jobs.c.state == S.RUNNING,
        )
        .values(lease_expires_at=clock.now(lease_for))
        .returning(jobs.c.id, jobs.c.attempt, jobs.c.cancel_requested_at, jobs.c.cancel_reason),
        rows([{"id": lease.job_id, "attempt": lease.attempt} for lease in leases]),
    ).all()
    return [
        HeldLease(
            Lease(row.id, row.attempt),
            row.cancel_requested_at is not None,
            row.cancel_reason,
            row.cancel_requested_at,
        )
        for row in extended
    ]


def any_expired(conn: Connection, clock: Clock) -> bool:
    """Whether there is something to rescue; asks without waiting for a writer."""
    expired = select(jobs.c.id).where(
        jobs.c.state == S.RUNNING, jobs.c.lease_expires_at < clock.now()
    )
    return conn.execute(expired.limit(1)).scalar() is not None


def expired_of(
    conn: Connection, clock: Clock, worker_ids: Sequence[str]
) -> set[tuple[Lease, datetime]]:
    """Which leases of these workers have expired, and when."""
    found = conn.execute(
        select(jobs.c.id, jobs.c.attempt, jobs.c.lease_expires_at).where(
            jobs.c.state == S.RUNNING,
            jobs.c.lease_expires_at < clock.now(),
            jobs.c.worker_id.in_(worker_ids),
        )
    ).all()
    return {(Lease(row.id, row.attempt), row.lease_expires_at) for row in found}
