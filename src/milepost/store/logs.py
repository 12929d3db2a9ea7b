"""The log lines of jobs, the newest thousand of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Connection, Integer, Text, and_, delete, select

from milepost.jobs.leases import JobId, Lease
from milepost.store.batches import batch, rows
from milepost.store.encoding import moment_of, storable
from milepost.store.moments import Moment
from milepost.store.tables import jobs, log_lines

MOST_LINES: Final = 1000
LONGEST_LINE: Final = 8000

_WRITTEN: Final = {
    "place": Integer,
    "id": BigInteger,
    "attempt": Integer,
    "at": Text,
    "level": Text,
    "message": Text,
}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that an attempt logged; the moment is its worker's."""

    lease: Lease
    at: datetime
    level: str
    message: str
    id: int | None = None


def write(conn: Connection, lines: Sequence[LogLine]) -> None:
    """Keep log lines; those of an attempt that is not the job's latest are dropped."""
    written = batch(conn.dialect.name, _WRITTEN)
    latest = and_(jobs.c.id == written.c.id, jobs.c.attempt == written.c.attempt)
    conn.execute(
        log_lines.insert().from_select(
            ["job_id", "attempt", "at", "level", "message"],
            select(
                written.c.id,
                written.c.attempt,
                moment_of(conn.dialect.name, written.c.at),
                written.c.level,
                written.c.message,
            )
            .join_from(written, jobs, latest)
            # A join gives the rows in any order.
            .order_by(written.c.place),
        ),
        rows(
            [
                {
                    "place": place,
                    "id": line.lease.job_id,
                    "attempt": line.lease.attempt,
                    "at": Moment.spell(line.at),
                    "level": line.level,
                    "message": storable(line.message[:LONGEST_LINE]),
                }
                for place, line in enumerate(lines)
            ]
        ),
    )
    for job_id in {line.lease.job_id for line in lines}:
        _trim(conn, job_id)


def _trim(conn: Connection, job_id: JobId) -> None:
    surplus = (
        select(log_lines.c.id)
        .where(log_lines.c.job_id == job_id)
        .order_by(log_lines.c.id.desc())
        .offset(MOST_LINES)
        .limit(1)
        .scalar_subquery()
    )
    conn.execute(delete(log_lines).where(log_lines.c.job_id == job_id, log_lines.c.id <= surplus))


def of_job(conn: Connection, job_id: JobId, *, after: int = 0) -> list[LogLine]:
    """Read a job's log lines after a line's id, the oldest first."""
    found = conn.execute(
        select(log_lines)
        .where(log_lines.c.job_id == job_id, log_lines.c.id > after)
        .order_by(log_lines.c.id)
    ).all()
    return [
        LogLine(Lease(row.job_id, row.attempt), row.at, row.level, row.message, row.id)
        for row in found
    ]
