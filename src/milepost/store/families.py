"""Who waits for whom, to be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, func, literal, select

from milepost.jobs.flows import FOR_OTHERS, ChildRow
from milepost.jobs.leases import JobId
from milepost.jobs.states import JobState
from milepost.store.batches import ids, is_named
from milepost.store.moments import Moment
from milepost.store.tables import family, jobs, joins

S = JobState

AWAITS: Final = and_(jobs.c.state == S.SCHEDULED, jobs.c.run_at == literal(FOR_OTHERS, Moment()))
"""Spells that a job waits for others."""

LONGEST_ERROR: Final = 300
# What a tree shows; more is counted.
MOST_SHOWN: Final = 200
DEEPEST: Final = 20


@dataclass(frozen=True, slots=True)
class Member:
    """One job of a flow. `depth`: how many jobs lie between, from 1; `under`: who waits for it."""

    id: JobId
    kind: str
    state: JobState
    error: str | None
    owner: str | None
    started_at: datetime | None
    finished_at: datetime | None
    under: JobId
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Flow:
    """A job's place among others: who waits for it, and for whom it waits.

    `children` stand as a tree, each below its parent and at most 200 of them; `counts` has all
    that the job itself waits for, by their states. `more`: there are others further below.
    """

    parents: Sequence[Member]
    children: Sequence[Member]
    counts: dict[JobState, int]
    more: bool

    def __bool__(self) -> bool:
        return bool(self.parents or self.counts)


def of_job(conn: Connection, job_id: JobId, *, most: int = MOST_SHOWN) -> Flow:
    """Read a job's place in its flow."""
    counted = conn.execute(
        select(jobs.c.state, func.count().label("jobs"))
        .join_from(family, jobs, jobs.c.id == family.c.child_id)
        .where(family.c.job_id == job_id)
        .group_by(jobs.c.state)
    ).all()
    parents = [
        _member(row)
        for row in conn.execute(
            select(*_MEMBER, family.c.child_id.label("under"))
            .join_from(family, jobs, jobs.c.id == family.c.job_id)
            .where(family.c.child_id == job_id)
            .order_by(jobs.c.id)
            .limit(most)
        )
    ]
    below: dict[JobId, list[Member]] = {}
    level, left, depth, more = [job_id] if counted else [], most, 1, False
    while level and left and depth <= DEEPEST:
        found = _below(conn, level, limit=left + 1)
        more, found = len(found) > left, found[:left]
        left -= len(found)
        for row in found:
            below.setdefault(row.under, []).append(_member(row, depth))
        # One that several wait for is shown below each, and opened once.
        level = sorted({row.id for row in found} - below.keys())
        depth += 1
    return Flow(
        parents,
        _in_order(below, job_id, set()),
        {JobState(row.state): row.jobs for row in counted},
        more or bool(level and _below(conn, level, limit=1)),
    )


def children_page(conn: Connection, job_id: JobId, *, after: JobId, limit: int) -> list[JobId]:
    """Read the ids of the jobs that a job waits for, in their order, after one of them."""
    found = conn.execute(
        select(family.c.child_id)
        .where(family.c.job_id == job_id, family.c.child_id > after)
        .order_by(family.c.child_id)
        .limit(limit)
    )
    return list(found.scalars())


def results(
    conn: Connection, job_id: JobId, kind: str, *, after: JobId, limit: int
) -> list[ChildRow]:
    """Read a page of the children of a kind with what they returned, in the order of their ids."""
    found = conn.execute(
        select(
            jobs.c.id, jobs.c.kind, jobs.c.state, jobs.c.args, jobs.c.result, jobs.c.error,
            jobs.c.cancel_reason,
        )
        .join_from(family, jobs, jobs.c.id == family.c.child_id)
        .where(family.c.job_id == job_id, family.c.child_id > after, jobs.c.kind == kind)
        .order_by(family.c.child_id)
        .limit(limit)
    ).all()  # fmt: skip
    return [
        ChildRow(row.id, row.kind, JobState(row.state), row.args, row.result, row.error,
                 row.cancel_reason)
        for row in found
    ]  # fmt: skip


def counts(conn: Connection, job_id: JobId) -> tuple[int, int]:
    """How many children of a job have not ended, and how many failed or were cancelled."""
    found = conn.execute(
        select(joins.c.pending, joins.c.lost).where(joins.c.job_id == job_id)
    ).one_or_none()
    return (0, 0) if found is None else (found.pending, found.lost)


def available(conn: Connection, job_ids: Sequence[JobId]) -> dict[JobId, str]:
    """Find the available children of jobs, with their queues."""
    found = conn.execute(
        select(jobs.c.id, jobs.c.queue)
        .join_from(family, jobs, jobs.c.id == family.c.child_id)
        .where(
            is_named(conn.dialect.name, family.c.job_id), jobs.c.state.concat("") == S.AVAILABLE
        ),
        ids(job_ids),
    ).all()
    return {row.id: row.queue for row in found}


def lost_below(conn: Connection, job_ids: Sequence[JobId]) -> list[Row[Any]]:
    """Find what has failed or was cancelled below jobs that are to wait again, and lock it."""
    found: dict[JobId, Row[Any]] = {}
    level = list(job_ids)
    while level:
        children = select(family.c.child_id).where(is_named(conn.dialect.name, family.c.job_id))
        lost = conn.execute(
            select(
                jobs.c.id, jobs.c.state, jobs.c.attempt, jobs.c.error, jobs.c.unique_key,
                jobs.c.children, jobs.c.run_at,
            )
            .where(jobs.c.id.in_(children), jobs.c.state.in_((S.FAILED, S.CANCELLED)))
            .order_by(jobs.c.id)
            .with_for_update(key_share=True),
            ids(level),
        ).all()  # fmt: skip
        new = {row.id: row for row in lost if row.id not in found}
        found |= new
        level = [row.id for row in new.values() if takes_children_along(row)]
    return list(found.values())


def takes_children_along(row: Row[*tuple[Any, ...]]) -> bool:
    """Whether a retry of a job means those that it waits for as well.

    It never began because of them, or it was cancelled, and they with it.
    """
    return row.children is not None and (row.run_at == FOR_OTHERS or row.state == S.CANCELLED)


_MEMBER: Final = (
    jobs.c.id, jobs.c.kind, jobs.c.state,
    func.substr(jobs.c.error, 1, LONGEST_ERROR).label("error"),
    jobs.c.owner, jobs.c.started_at, jobs.c.finished_at,
)  # fmt: skip


def _below(
    conn: Connection, level: Sequence[JobId], *, limit: int
) -> Sequence[Row[*tuple[Any, ...]]]:
    return conn.execute(
        select(*_MEMBER, family.c.job_id.label("under"))
        .join_from(family, jobs, jobs.c.id == family.c.child_id)
        .where(is_named(conn.dialect.name, family.c.job_id))
        .order_by(family.c.job_id, jobs.c.id)
        .limit(limit),
        ids(level),
    ).all()


def _member(row: Row[*tuple[Any, ...]], depth: int = 1) -> Member:
    return Member(
        row.id, row.kind, JobState(row.state), row.error, row.owner, row.started_at,
        row.finished_at, row.under, depth,
    )  # fmt: skip


def _in_order(below: dict[JobId, list[Member]], job_id: JobId, opened: set[JobId]) -> list[Member]:
    """Stand each member before those that are below it."""
    opened.add(job_id)
    ordered: list[Member] = []
    for member in below.get(job_id, ()):
        ordered.append(member)
        if member.id not in opened:
            ordered += _in_order(below, member.id, opened)
    return ordered
