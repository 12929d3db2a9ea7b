"""History does not grow for ever: what has been kept enough is deleted, a little at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select, tuple_

from milepost.jobs.leases import JobId
from milepost.jobs.retention import Keep, Retention
from milepost.jobs.states import JobState
from milepost.store.clock import Clock
from milepost.store.tables import (
    attempts,
    family,
    jobs,
    joins,
    log_lines,
    progress_points,
    retention,
    workers,
)
from milepost.store.upserts import insert_into

AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Past:
    """Finished jobs of a kind of which some have been kept enough.

    Either those older than an age, or those that ended with or before a certain job.
    """

    kind: str
    state: JobState
    bound: timedelta | tuple[datetime, JobId]


def declare(conn: Connection, rules: Mapping[str, Retention | None]) -> None:
    """Write down what definitions say of their kinds; None: nothing.

    In the store, so that a worker without a kind's definition keeps its jobs as long as others.
    """
    declared = {
        (kind, state): keep
        for kind, rule in rules.items()
        for state, keep in (rule or Retention()).by_state().items()
    }
    stored = {key: keep for key, keep in _rules(conn).items() if key[0] in rules}
    for kind, state in sorted(stored.keys() - declared.keys()):
        conn.execute(delete(retention).where(retention.c.kind == kind, retention.c.state == state))
    for (kind, state), keep in sorted(declared.items(), key=lambda each: each[0]):
        if stored.get((kind, state)) == keep:
            continue
        age = None if keep.age is None else keep.age.total_seconds()
        values = {"age": age, "count": keep.count}
        conn.execute(
            insert_into(conn.dialect.name, retention)
            .values(kind=kind, state=state, **values)
            .on_conflict_do_update(
                index_elements=[retention.c.kind, retention.c.state], set_=values
            )
        )


def look(conn: Connection, clock: Clock, defaults: Mapping[JobState, Keep]) -> list[Past]:
    """Find what to prune, by the rule of each kind, or else by these."""
    rules = _rules(conn)
    found = []
    for kind, state in _finished(conn):
        keep = rules.get((kind, state)) or defaults.get(state, Keep())
        for bound in (keep.age, _newest_too_many(conn, kind, state, keep.count)):
            if bound is None:
                continue
            past = Past(kind, state, bound)
            if conn.execute(select(jobs.c.id).where(*_are(past, clock)).limit(1)).first():
                found.append(past)
    return found


def prune(conn: Connection, clock: Clock, past: Past, *, limit: int = AT_ONCE) -> int:
    """Delete finished jobs that were kept enough, with all that hangs on them; returns how many.

    A job that others wait for stays until they have completed, or are deleted themselves: its
    result is theirs to read, also after a retry.

    A caller that gets `limit` back calls again: small transactions let others in between.
    """
    old = (
        select(jobs.c.id)
        .where(*_are(past, clock))
        .order_by(jobs.c.finished_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return forget(conn, list(conn.execute(old).scalars()))


def _rules(conn: Connection) -> dict[tuple[str, JobState], Keep]:
    stored = select(retention.c.kind, retention.c.state, retention.c.age, retention.c.count)
    return {
        (kind, JobState(state)): Keep(None if age is None else timedelta(seconds=age), count)
        for kind, state, age, count in conn.execute(stored)
    }


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
) -> tuple[datetime, JobId] | None:
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


def _ended(kind: str, state: JobState) -> tuple[ColumnElement[bool], ...]:
    return jobs.c.kind == kind, jobs.c.state == state, jobs.c.finished_at.is_not(None)


def _are(past: Past, clock: Clock) -> tuple[ColumnElement[bool], ...]:
    ended = jobs.c.finished_at
    if isinstance(past.bound, timedelta):
        bounds: tuple[ColumnElement[bool], ...] = (ended < clock.now(-past.bound),)
    else:
        moment, job_id = past.bound
        bounds = (
            ended <= moment,
            or_(ended < moment, jobs.c.id <= job_id),
            # What holds the key of a throttle has to be found for as long as that lasts.
            jobs.c.repeat_key.is_(None),
        )
    return *_ended(past.kind, past.state), *bounds, ~is_needed()


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
