"""History does not grow for ever: what has been kept enough is deleted, a little at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    false,
    func,
    or_,
    select,
    tuple_,
)

from milepost.jobs.leases import JobId
from milepost.jobs.retention import Keep, Retention
from milepost.jobs.states import JobState
from milepost.store import retention
from milepost.store.clock import Clock
from milepost.store.tables import (
    attempts,
    family,
    jobs,
    joins,
    log_lines,
    progress_points,
    workers,
)

AT_ONCE: Final = 500

Place = tuple[datetime, JobId]
"""When a job ended, and its id: the order in which they are deleted."""


@dataclass(frozen=True, slots=True)
class Past:
    """Finished jobs of a kind of which some have been kept enough.

    Either those older than an age, or those that ended with or before a certain job.
    """

    kind: str
    state: JobState
    bound: timedelta | Place


class Pruned(NamedTuple):
    """How many were deleted, and where to go on; None: there are no more."""

    deleted: int
    last: Place | None


def look(conn: Connection, clock: Clock, defaults: Mapping[JobState, Keep]) -> list[Past]:
    """Find what to prune, by the rule of each kind, or else by these."""
    rules, unsettled = retention.stored_rules(conn), retention.unsettled(conn, clock)
    found = []
    for kind, state in _finished(conn):
        if kind in unsettled:
            continue
        own = (rules.get(kind) or Retention()).by_state()
        keep = own.get(state) or defaults.get(state, Keep())
        for bound in (keep.age, _newest_too_many(conn, kind, state, keep.count)):
            if bound is None:
                continue
            past = Past(kind, state, bound)
            if conn.execute(_oldest(past, clock, None).limit(1)).first():
                found.append(past)
    return found


def prune(
    conn: Connection, clock: Clock, past: Past, *, after: Place | None = None, limit: int = AT_ONCE
) -> Pruned:
    """Delete finished jobs that were kept enough, with all that hangs on them: a page at a time.

    A job that others wait for stays until they have completed, or are deleted themselves: its
    result is theirs to read, also after a retry. What a throttle has to find stays as well.
    """
    oldest = _oldest(past, clock, after)
    page = conn.execute(oldest.limit(limit)).all()
    # Only those are locked that are likely to go: a lock is a write too.
    likely = oldest.where(jobs.c.id.in_([row.id for row in page]), ~_is_wanted(clock))
    locked = [row.id for row in conn.execute(likely.with_for_update(skip_locked=True))]
    deleted = forget(conn, clock, locked)
    last = (page[-1].finished_at, page[-1].id) if len(page) == limit else None
    return Pruned(deleted, last)


def _finished(conn: Connection) -> Iterator[tuple[str, JobState]]:
    """Which kinds have finished jobs in which states: one step in the index for each."""
    step = (
        select(jobs.c.kind, jobs.c.state)
        .where(jobs.c.finished_at.is_not(None))
        .order_by(jobs.c.kind, jobs.c.state)
        .limit(1)
    )
    found = conn.execute(step).one_or_none()
    while found is not None:
        yield found.kind, JobState(found.state)
        further = tuple_(jobs.c.kind, jobs.c.state) > tuple_(found.kind, found.state)
        found = conn.execute(step.where(further)).one_or_none()


def _newest_too_many(
    conn: Connection, kind: str, state: JobState, count: int | None
) -> Place | None:
    if count is None:
        return None
    row = conn.execute(
        select(jobs.c.finished_at, jobs.c.id)
        .where(*_ended(kind, state))
        .order_by(jobs.c.finished_at.desc(), jobs.c.id.desc())
        .offset(count)
        .limit(1)
    ).one_or_none()
    return None if row is None else (row.finished_at, row.id)


def _oldest(past: Past, clock: Clock, after: Place | None) -> Select[tuple[JobId, datetime]]:
    ended = jobs.c.finished_at
    if isinstance(past.bound, timedelta):
        bounds: tuple[ColumnElement[bool], ...] = (ended < clock.now(-past.bound),)
    else:
        bounds = (~_is_after(past.bound), ended <= past.bound[0])
    if after is not None:
        bounds = (*bounds, _is_after(after), ended >= after[0])
    return (
        select(jobs.c.id, ended)
        .where(*_ended(past.kind, past.state), *bounds)
        .order_by(ended, jobs.c.id)
    )


def _is_after(place: Place) -> ColumnElement[bool]:
    moment, job_id = place
    ended = jobs.c.finished_at
    return or_(ended > moment, and_(ended == moment, jobs.c.id > job_id))


def _ended(kind: str, state: JobState) -> tuple[ColumnElement[bool], ...]:
    return jobs.c.kind == kind, jobs.c.state == state, jobs.c.finished_at.is_not(None)


def forget(conn: Connection, clock: Clock, locked: Sequence[JobId]) -> int:
    """Delete those of the jobs that this transaction has locked which nobody may still want.

    With what hangs on them; returns how many.
    """
    if not locked:
        return 0
    # A statement of its own: it sees who began to wait for one of them while the locks were taken,
    # and who comes now waits for these.
    wanted = select(jobs.c.id).where(jobs.c.id.in_(locked), _is_wanted(clock))
    job_ids = list(set(locked).difference(conn.execute(wanted).scalars()))
    for table in (attempts, progress_points, log_lines, joins, family):
        conn.execute(delete(table).where(table.c.job_id.in_(job_ids)))
    conn.execute(delete(family).where(family.c.child_id.in_(job_ids)))
    conn.execute(delete(jobs).where(jobs.c.id.in_(job_ids)))
    return len(job_ids)


def _is_wanted(clock: Clock) -> ColumnElement[bool]:
    """Whether another job may still read what one has returned, or a throttle has to find it."""
    parent = jobs.alias("parent")
    reads = (
        select(parent.c.id)
        .join_from(family, parent, parent.c.id == family.c.job_id)
        .where(family.c.child_id == jobs.c.id, parent.c.state != JobState.COMPLETED)
        .exists()
    )
    throttles = func.coalesce(jobs.c.repeat_until > clock.now(), false())
    return or_(and_(jobs.c.awaited, reads), throttles)


def forget_workers(conn: Connection, clock: Clock, *, keep_for: timedelta) -> None:
    """Delete workers that have not been seen for long."""
    conn.execute(delete(workers).where(workers.c.seen_at < clock.now(-keep_for)))
