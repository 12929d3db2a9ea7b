"""The history of attempts: when, where, how each ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Insert, Integer, Text, and_, select, tuple_

from milepost.jobs.leases import JobId, Lease
from milepost.jobs.states import JobState
from milepost.store.batches import batch, rows
from milepost.store.clock import Clock
from milepost.store.tables import attempts, jobs

_ENDED: Final = {
    "id": BigInteger,
    "attempt": Integer,
    "outcome": Text,
    "state": Text,
    "error": Text,
    "traceback": Text,
}


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt that ended: an outcome's name, or 'rescued', and the state it left.

    `error` says why: that of a snoozed one is the reason it gave.
    """

    attempt: int
    worker_id: str | None
    started_at: datetime | None
    finished_at: datetime
    outcome: str
    state: JobState
    error: str | None
    traceback: str | None


def record(conn: Connection, clock: Clock, ended: Sequence[Mapping[str, Any]]) -> None:
    """Write the attempts that this transaction just ended; who ran them stands in `jobs`."""
    if not ended:
        return
    conn.execute(_record(conn.dialect.name, clock), rows(ended))


@lru_cache
def _record(dialect: str, clock: Clock) -> Insert:
    given = batch(dialect, _ENDED)
    held = and_(jobs.c.id == given.c.id, jobs.c.attempt == given.c.attempt)
    values = select(
        given.c.id,
        given.c.attempt,
        jobs.c.worker_id,
        jobs.c.started_at,
        clock.now(),
        given.c.outcome,
        given.c.state,
        given.c.error,
        given.c.traceback,
    ).join_from(given, jobs, held)
    return attempts.insert().from_select([column.name for column in attempts.c], values)


def settled_before(conn: Connection, leases: Sequence[Lease]) -> dict[Lease, JobState]:
    """Which of these attempts their own worker had settled already, and what they left."""
    found = conn.execute(
        select(attempts.c.job_id, attempts.c.attempt, attempts.c.state).where(
            tuple_(attempts.c.job_id, attempts.c.attempt).in_(
                [(lease.job_id, lease.attempt) for lease in leases]
            ),
            attempts.c.outcome != "rescued",
        )
    ).all()
    return {Lease(row.job_id, row.attempt): JobState(row.state) for row in found}


def only_misfits(conn: Connection, job_id: JobId, *, since: int) -> bool:
    """Whether no attempt of a job since that one came further than to find that it does not fit."""
    others = select(attempts.c.attempt).where(
        attempts.c.job_id == job_id,
        attempts.c.attempt >= since,
        attempts.c.outcome != "misfit",
    )
    return conn.execute(others.limit(1)).first() is None


def of_job(conn: Connection, job_id: JobId) -> list[AttemptRecord]:
    """Read a job's ended attempts, the oldest first."""
    found = conn.execute(
        select(attempts).where(attempts.c.job_id == job_id).order_by(attempts.c.attempt)
    ).all()
    return [
        AttemptRecord(
            row.attempt, row.worker_id, row.started_at, row.finished_at,
            row.outcome, JobState(row.state), row.error, row.traceback,
        )
        for row in found
    ]  # fmt: skip
