"""Requests that may be sent again: which job each has become."""

from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from milepost.jobs.leases import JobId
from milepost.store.clock import Clock
from milepost.store.tables import idempotency_keys

KEPT_FOR: Final = timedelta(hours=24)


def find(conn: Connection, clock: Clock, key: str) -> tuple[str, JobId] | None:
    """Find the hash of the request that came with a key within the last day, and its job."""
    row = conn.execute(
        select(idempotency_keys.c.request_hash, idempotency_keys.c.job_id).where(
            idempotency_keys.c.key == key, idempotency_keys.c.created_at > clock.now(-KEPT_FOR)
        )
    ).one_or_none()
    return None if row is None else (row.request_hash, row.job_id)


def add(conn: Connection, clock: Clock, key: str, request_hash: str, job_id: JobId) -> None:
    """Keep what a request has become, and forget those of more than a day ago.

    Raises sqlalchemy's IntegrityError where another transaction was first.
    """
    conn.execute(
        delete(idempotency_keys).where(idempotency_keys.c.created_at <= clock.now(-KEPT_FOR))
    )
    conn.execute(
        insert(idempotency_keys).values(
            key=key, request_hash=request_hash, job_id=job_id, created_at=clock.now()
        )
    )
