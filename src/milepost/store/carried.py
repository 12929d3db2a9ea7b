"""What a broker carries, as the store says it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, Select, and_, func, literal, or_, select, text, tuple_

from milepost.jobs.flows import FOR_OTHERS
from milepost.jobs.leases import JobId
from milepost.jobs.states import JobState
from milepost.store.batches import ids, is_named
from milepost.store.clock import Clock
from milepost.store.moments import Moment
from milepost.store.tables import jobs

# What waits for others may rest in a broker meanwhile. Longer moments are too many milliseconds.
LONGEST_REST: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class CarriedJob:
    """One job as a broker must show it. `args` and `result` are JSON.

    `wait` is until its time, or long where it waits for others: `waits`.
    """

    id: JobId
    kind: str
    queue: str
    state: JobState
    lane: str
    priority: int
    args: str
    max_attempts: int
    rescues: int
    broker_id: str | None
    result: str | None
    error: str | None
    created_at: datetime
    run_at: datetime
    wait: timedelta
    trace: str | None

    @property
    def waits(self) -> bool:
        """Whether it is scheduled for the end of others, and for no moment."""
        return self.state is JobState.SCHEDULED and self.run_at == FOR_OTHERS


_COLUMNS = (
    jobs.c.id, jobs.c.kind, jobs.c.queue, jobs.c.state, jobs.c.lane, jobs.c.priority, jobs.c.args,
    jobs.c.max_attempts, jobs.c.rescues, jobs.c.broker_id, jobs.c.result, jobs.c.error,
    jobs.c.created_at, jobs.c.run_at, jobs.c.trace,
)  # fmt: skip


def read(conn: Connection, clock: Clock, job_ids: Sequence[JobId]) -> list[CarriedJob]:
    """Read these jobs; those that the store does not have are left out."""
    query = _query(clock).where(is_named(conn.dialect.name, jobs.c.id))
    return _carried(conn, query, ids(job_ids))


class WaitingJob(NamedTuple):
    """A job that is available or scheduled, and no more of it than says where it waits."""

    id: JobId
    queue: str
    lane: str
    priority: int
    run_at: datetime
    created_at: datetime
    broker_id: str | None


# A job that waits for others is no broker's concern until they have ended.
_HAS_ITS_MOMENT = jobs.c.run_at < literal(FOR_OTHERS, Moment())
_WAITING = tuple(jobs.c[name] for name in WaitingJob._fields)


def waiting_since(conn: Connection, *, after: JobId, limit: int) -> list[WaitingJob]:
    """Read waiting jobs with higher ids than `after`, the lowest first."""
    query = (
        select(*_WAITING)
        .where(
            jobs.c.id > after,
            jobs.c.state.in_((JobState.AVAILABLE, JobState.SCHEDULED)),
            _HAS_ITS_MOMENT,
        )
        .order_by(jobs.c.id)
        .limit(limit)
    )
    return [WaitingJob(*row) for row in conn.execute(query)]


def waiting_page(
    conn: Connection, state: JobState, *, after: WaitingJob | None, limit: int
) -> list[WaitingJob]:
    """Read a page of the jobs that are available, or scheduled, in the order of an index.

    `after` is the last job of the page before.
    """
    if state is JobState.AVAILABLE:
        order: tuple[Any, ...] = (jobs.c.queue, jobs.c.lane, jobs.c.priority, jobs.c.id)
    else:
        order = (jobs.c.run_at, jobs.c.id)
    # Spelled as the index spells it, or the planner does not know that it serves.
    query = select(*_WAITING).where(text(f"state = '{state}'"), _HAS_ITS_MOMENT)
    query = query.order_by(*order).limit(limit)
    if after is not None:
        query = query.where(tuple_(*order) > tuple_(*(getattr(after, c.name) for c in order)))
    return [WaitingJob(*row) for row in conn.execute(query)]


def newest(conn: Connection) -> JobId:
    """The highest id so far; 0 where there is none."""
    found: JobId = conn.execute(select(func.coalesce(func.max(jobs.c.id), 0))).scalar_one()
    return found


def unfinished_of(
    conn: Connection,
    clock: Clock,
    kinds: Sequence[str],
    *,
    after: JobId,
    limit: int,
    leased: bool = False,
) -> list[CarriedJob]:
    """Read a page of the jobs of some kinds that run or could run, in the order of their ids.

    `leased`: only of those that run.
    """
    running = jobs.c.lease_expires_at.is_not(None)
    query = (
        _query(clock)
        .where(
            jobs.c.id > after,
            jobs.c.kind.in_(kinds),
            # Each part as its index spells it.
            running
            if leased
            else or_(
                text("state = 'available'"),
                running,
                and_(text("state = 'scheduled'"), jobs.c.run_at <= clock.now()),
            ),
        )
        .order_by(jobs.c.id)
        .limit(limit)
    )
    return _carried(conn, query, {})


def _query(clock: Clock) -> Select[Any]:
    return select(*_COLUMNS, clock.now().label("present"))


def _carried(conn: Connection, query: Select[Any], parameters: dict[str, str]) -> list[CarriedJob]:
    found: Sequence[Row[Any]] = conn.execute(query, parameters).all()
    return [
        CarriedJob(
            id=row.id, kind=row.kind, queue=row.queue, state=JobState(row.state),
            lane=row.lane, priority=row.priority, args=row.args, max_attempts=row.max_attempts,
            rescues=row.rescues, broker_id=row.broker_id, result=row.result, error=row.error,
            created_at=row.created_at, run_at=row.run_at,
            wait=min(max(timedelta(0), row.run_at - row.present), LONGEST_REST), trace=row.trace,
        )
        for row in found
    ]  # fmt: skip
