"""What people are to be told: written with the change that it tells of, kept until it was sent.

A change that concerns nobody's route writes nothing. Where it concerns several, each has a row of
its own, so that one that takes nothing holds up no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Text,
    and_,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    update,
)

from milepost.jobs.leases import JobId
from milepost.jobs.states import JobState
from milepost.store.batches import ids, is_named
from milepost.store.clock import Clock
from milepost.store.encoding import storable
from milepost.store.tables import attempts, jobs, joins, notices, routes

# What one message tells of at most; the rest comes in the next.
MOST_IN_A_BATCH: Final = 10_000
# Who takes a message in hand and dies has not sent it: after so long another one does.
SENT_WITHIN: Final = timedelta(minutes=2)
LONGEST_DETAIL: Final = 1000


class About(StrEnum):
    """What a notice tells of."""

    JOB_FAILED = "job-failed"
    JOB_RECOVERED = "job-recovered"
    SCHEDULE_MISSED = "schedule-missed"
    WORKER_GONE = "worker-gone"
    QUEUE_LATE = "queue-late"
    QUEUE_RECOVERED = "queue-recovered"


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that a route is told of; `subject` is the worker or the queue, else None."""

    about: About
    kind: str | None
    queue: str | None
    owner: str | None
    job_id: JobId | None
    subject: str | None
    detail: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Batch:
    """The notices of one message. Its id stays the same however often it is sent."""

    id: str
    notices: Sequence[Notice]


def of_failed(conn: Connection, clock: Clock, job_ids: Sequence[JobId]) -> None:
    """Note that jobs have failed for good, where somebody wants to know."""
    if job_ids:
        conn.execute(_of_jobs(conn.dialect.name, clock, About.JOB_FAILED), ids(job_ids))


def of_completed(conn: Connection, clock: Clock, job_ids: Sequence[JobId]) -> None:
    """Note of those of these jobs that had failed before that they have recovered."""
    if job_ids:
        conn.execute(_of_jobs(conn.dialect.name, clock, About.JOB_RECOVERED), ids(job_ids))


@lru_cache
def _of_jobs(dialect: str, clock: Clock, about: About) -> Insert:
    detail = func.substr(jobs.c.error, 1, LONGEST_DETAIL) if about is About.JOB_FAILED else null()
    told = select(
        routes.c.name, literal(about.value), jobs.c.kind, jobs.c.queue, jobs.c.owner, jobs.c.id,
        cast(detail, Text), clock.now(),
    ).join_from(
        jobs, routes, _matches(about, kind=jobs.c.kind, queue=jobs.c.queue, owner=jobs.c.owner)
    ).where(is_named(dialect, jobs.c.id))  # fmt: skip
    if about is About.JOB_RECOVERED:
        told = told.where(
            or_(
                exists().where(
                    attempts.c.job_id == jobs.c.id, attempts.c.state == JobState.FAILED.value
                ),
                exists().where(joins.c.job_id == jobs.c.id, joins.c.broke),
            )
        )
    return insert(notices).from_select(
        ["route", "about", "kind", "queue", "owner", "job_id", "detail", "at"], told
    )


def of_subject(
    conn: Connection,
    clock: Clock,
    about: About,
    subject: str,
    detail: str,
    *,
    kind: str | None = None,
    queue: str | None = None,
    owner: str | None = None,
) -> None:
    """Note what happened to a worker, a queue or a schedule, where somebody wants to know."""
    of = {"kind": literal(kind, Text), "queue": literal(queue, Text), "owner": literal(owner, Text)}
    told = select(
        routes.c.name, literal(about.value), *of.values(), literal(subject),
        literal(storable(detail)[:LONGEST_DETAIL]), clock.now(),
    ).where(_matches(about, **of))  # fmt: skip
    conn.execute(
        insert(notices).from_select(["route", "about", *of, "subject", "detail", "at"], told)
    )


def _matches(
    about: About, *, kind: ColumnElement[Any], queue: ColumnElement[Any], owner: ColumnElement[Any]
) -> ColumnElement[bool]:
    """Whether a route wants to know of something; what it does not name is all the same to it."""
    return and_(
        routes.c.about.contains(f",{about.value},"),
        or_(routes.c.kind.is_(None), routes.c.kind == kind),
        or_(routes.c.queue.is_(None), routes.c.queue == queue),
        or_(routes.c.owner.is_(None), routes.c.owner == owner),
    )


def any_wanted(conn: Connection) -> bool:
    """Whether anybody is to be told of anything."""
    return conn.execute(select(routes.c.name).limit(1)).first() is not None


def due(conn: Connection, clock: Clock, *, gather_for: timedelta) -> list[str]:
    """Which routes a message may be sent to now; a first notice has waited for others so long."""
    return list(conn.execute(select(routes.c.name).where(_is_due(clock, gather_for))).scalars())


def _is_due(clock: Clock, gather_for: timedelta) -> ColumnElement[bool]:
    ready = or_(notices.c.batch.is_not(None), notices.c.at <= clock.now(-gather_for))
    return and_(
        routes.c.due_at <= clock.now(), exists().where(notices.c.route == routes.c.name, ready)
    )


def take(conn: Connection, clock: Clock, route: str, *, gather_for: timedelta) -> Batch | None:
    """Take a route's next message in hand; None where somebody else has.

    It is the one that could not be sent before, or a new one of all that there is to tell.
    """
    taken = conn.execute(
        update(routes)
        .where(routes.c.name == route, _is_due(clock, gather_for))
        .values(due_at=clock.now(SENT_WITHIN))
    )
    if not taken.rowcount:
        return None
    own = notices.c.route == route
    batch = conn.execute(
        select(notices.c.batch).where(own, notices.c.batch.is_not(None)).limit(1)
    ).scalar()
    if batch is None:
        batch = str(uuid4())
        oldest = (
            select(notices.c.id)
            .where(own, notices.c.batch.is_(None))
            .order_by(notices.c.id)
            .limit(MOST_IN_A_BATCH)
        )
        conn.execute(
            update(notices).where(notices.c.id.in_(oldest.scalar_subquery())).values(batch=batch)
        )
    found = conn.execute(
        select(notices).where(own, notices.c.batch == batch).order_by(notices.c.id)
    ).all()
    return Batch(
        batch,
        [
            Notice(
                About(row.about), row.kind, row.queue, row.owner, row.job_id, row.subject,
                row.detail, row.at,
            )
            for row in found
        ],
    )  # fmt: skip


def sent(conn: Connection, clock: Clock, route: str, batch: str, *, rest_for: timedelta) -> None:
    """Forget a message that was sent; the next one may go when the rest is over."""
    conn.execute(delete(notices).where(notices.c.route == route, notices.c.batch == batch))
    conn.execute(
        update(routes)
        .where(routes.c.name == route)
        .values(due_at=clock.now(rest_for), tries=0, error=None, sent_at=clock.now())
    )


def not_sent(conn: Connection, clock: Clock, route: str, error: str, *, again: timedelta) -> None:
    """Note why a message could not be sent; it may be tried again after that time."""
    conn.execute(
        update(routes)
        .where(routes.c.name == route)
        .values(
            due_at=clock.now(again), tries=routes.c.tries + 1,
            error=storable(error)[:LONGEST_DETAIL],
        )
    )  # fmt: skip


def tries(conn: Connection, route: str) -> int:
    """How often in a row a route took nothing."""
    return conn.execute(select(routes.c.tries).where(routes.c.name == route)).scalar() or 0


def drop_older(conn: Connection, clock: Clock, than: timedelta) -> Mapping[str, int]:
    """Give up telling what nobody took for so long; returns of how many, by route."""
    dropped: dict[str, int] = {}
    for route in conn.execute(
        delete(notices).where(notices.c.at < clock.now(-than)).returning(notices.c.route)
    ).scalars():
        dropped[route] = dropped.get(route, 0) + 1
    return dropped
