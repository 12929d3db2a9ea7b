"""The statements of `flows.py`, built once: building one takes longer than running it."""

from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Float,
    Integer,
    Text,
    and_,
    case,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from milepost.jobs.flows import FOR_OTHERS
from milepost.jobs.states import JobState
from milepost.store.batches import batch, is_named
from milepost.store.clock import Clock
from milepost.store.encoding import due
from milepost.store.families import AWAITS
from milepost.store.moments import Moment
from milepost.store.tables import KEPT, family, jobs, joins

S = JobState


@lru_cache
def begin(dialect: str, clock: Clock) -> ReturningInsert[Any]:
    """Store the counts of new parents, with the moments before which they do not run."""
    given = batch(dialect, {
        "id": BigInteger, "pending": Integer, "lost": Integer, "on_failure": Text,
        "delay": Float, "run_at": Text,
    })  # fmt: skip
    values = select(
        given.c.id, given.c.pending, given.c.lost, given.c.on_failure, due(dialect, clock, given)
    )
    statement: ReturningInsert[Any] = (
        insert(joins)
        .from_select(["job_id", "pending", "lost", "on_failure", "run_at"], values)
        .returning(joins.c.job_id, joins.c.pending, joins.c.lost, joins.c.on_failure)
    )
    return statement


@lru_cache
def change(dialect: str) -> ReturningUpdate[Any]:
    """Change the counts of the parents of some children."""
    given = batch(dialect, {"id": BigInteger, "pending": Integer, "lost": Integer})
    changes = (
        select(
            family.c.job_id,
            func.sum(given.c.pending).label("pending"),
            func.sum(given.c.lost).label("lost"),
        )
        .join_from(given, family, family.c.child_id == given.c.id)
        .group_by(family.c.job_id)
        .cte("changes")
    )
    statement = update(joins).where(joins.c.job_id == changes.c.job_id)
    if dialect != "sqlite":
        # Two who settle children of the same parents take their counts in the same order.
        locked = (
            select(joins.c.job_id)
            .where(joins.c.job_id.in_(select(changes.c.job_id)))
            .order_by(joins.c.job_id)
            .with_for_update()
            .cte("locked")
        )
        statement = statement.where(joins.c.job_id == locked.c.job_id)
    return statement.values(
        pending=joins.c.pending + changes.c.pending, lost=joins.c.lost + changes.c.lost
    ).returning(joins.c.job_id, joins.c.pending, joins.c.lost, joins.c.on_failure)


@lru_cache
def free(dialect: str, clock: Clock) -> ReturningUpdate[Any]:
    """Make jobs that wait available, or scheduled where they have a moment too."""
    waiting = (
        select(jobs.c.id)
        .where(is_named(dialect, jobs.c.id), AWAITS)
        .order_by(jobs.c.id)
        .with_for_update(key_share=True)
        .cte("waiting")
    )
    is_due = joins.c.run_at <= clock.now()
    return (
        update(jobs)
        .where(jobs.c.id == waiting.c.id, joins.c.job_id == waiting.c.id, AWAITS)
        .values(
            state=case((is_due, S.AVAILABLE), else_=S.SCHEDULED),
            # Since when it could run: what it waited for others is no wait for a worker.
            run_at=case((is_due, clock.now()), else_=joins.c.run_at),
        )
        .returning(jobs.c.id, jobs.c.queue, jobs.c.state)
    )


@lru_cache
def fail(dialect: str, clock: Clock) -> ReturningUpdate[Any]:
    """Fail jobs that wait, each with its reason."""
    given = batch(dialect, {"id": BigInteger, "error": Text, "children": Text})
    waiting: Any = given
    if dialect != "sqlite":
        waiting = (
            select(*given.c)
            .join_from(given, jobs, and_(jobs.c.id == given.c.id, AWAITS))
            .order_by(given.c.id)
            .with_for_update(of=jobs, key_share=True)
            .cte("waiting")
        )
    return (
        update(jobs)
        .where(jobs.c.id == waiting.c.id, AWAITS)
        .values(
            state=S.FAILED,
            error=waiting.c.error,
            finished_at=clock.now(),
            children=waiting.c.children,
        )
        .returning(jobs.c.id, jobs.c.awaited, jobs.c.children)
    )


@lru_cache
def wait_again(dialect: str) -> ReturningUpdate[Any]:
    """Let jobs that have failed because of others wait for them again."""
    return (
        update(jobs)
        .where(
            is_named(dialect, jobs.c.id),
            jobs.c.state == S.FAILED,
            jobs.c.run_at == literal(FOR_OTHERS, Moment()),
        )
        .values(state=S.SCHEDULED, error=None, finished_at=None, children=KEPT)
        .returning(jobs.c.id, jobs.c.awaited, jobs.c.attempt)
    )
