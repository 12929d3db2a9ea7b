"""Who runs what: available jobs, and a lease on each."""

from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Integer,
    Select,
    and_,
    bindparam,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from milepost.jobs.leases import ClaimedJob, JobId, Lease
from milepost.jobs.limits import PLAIN
from milepost.jobs.states import JobState
from milepost.store.batches import ids, is_named
from milepost.store.clock import Clock
from milepost.store.encoding import decode_backoff
from milepost.store.jobs.rows import is_just, kept_repeat_key
from milepost.store.tables import LIMITS_CLAIMS, SUSPECT, jobs, queue_limits

S = JobState


def claim(
    conn: Connection,
    clock: Clock,
    *,
    queue: str,
    kinds: Sequence[str],
    limit: int,
    lease_for: timedelta,
    worker_id: str,
) -> list[ClaimedJob]:
    """Take available jobs of a queue, the most urgent first, and get a lease on each.

    Of a queue where something is held back none: see `lanes.claim`.

    Of those that two workers in a row have died on, a worker runs one at a time: should it die
    too, that is the one to blame, and not those that happened to run beside it.
    """
    claimed = conn.execute(
        _claim(clock, lease_for),
        {"queue_": queue, "kinds": kinds, "most": limit, "worker": worker_id},
    ).all()
    return _claimed(claimed)


def claim_these(
    conn: Connection,
    clock: Clock,
    job_ids: Sequence[JobId],
    *,
    kinds: Sequence[str],
    lease_for: timedelta,
    worker_id: str,
    begun: bool = False,
    steered: bool = False,
) -> list[ClaimedJob]:
    """Take those of these jobs that are available, and get a lease on each; see `claim`.

    `begun` where another program runs them already, whatever became of those who ran them before.
    `steered` where the caller has seen to their limits and turns; else nothing that has any, or
    whose queue has limits, is taken.
    """
    claimed = conn.execute(
        _claim_these(conn.dialect.name, clock, lease_for, begun=begun, steered=steered),
        {**ids(job_ids), "kinds": kinds, "worker": worker_id},
    ).all()
    return _claimed(claimed, steered=steered)


def held_by(conn: Connection, worker_id: str, job_ids: Sequence[JobId]) -> list[ClaimedJob]:
    """Read those of these jobs that a worker runs."""
    found = conn.execute(
        select(*_TAKEN).where(
            jobs.c.id.in_(job_ids), jobs.c.state == S.RUNNING, jobs.c.worker_id == worker_id
        )
    ).all()
    return _claimed(found)


# What comes with a lease. The first two put them into their order: RETURNING has none.
_TAKEN: Final = (
    jobs.c.priority, jobs.c.id, jobs.c.attempt, jobs.c.kind, jobs.c.queue, jobs.c.args,
    jobs.c.checkpoint, jobs.c.failures, jobs.c.max_attempts, jobs.c.backoff, jobs.c.time_limit,
    jobs.c.started_at, jobs.c.broker_id, jobs.c.run_at, jobs.c.trace, jobs.c.lane,
    jobs.c.scheduled_for,
)  # fmt: skip


def _claimed(claimed: Sequence[Any], *, steered: bool = False) -> list[ClaimedJob]:
    # By place, not by name: thousands of rows come by each second.
    return [
        ClaimedJob(
            Lease(job_id, attempt), kind, queue, args, checkpoint, failures, max_attempts,
            None if backoff is None else decode_backoff(backoff),
            None if time_limit is None else timedelta(seconds=time_limit),
            started_at, broker_id, run_at, trace, lane, steered or lane != PLAIN, scheduled_for,
        )
        for (
            _, job_id, attempt, kind, queue, args, checkpoint, failures, max_attempts, backoff,
            time_limit, started_at, broker_id, run_at, trace, lane, scheduled_for,
        ) in sorted(claimed, key=itemgetter(0, 1))
    ]  # fmt: skip


@lru_cache
def _claim(clock: Clock, lease_for: timedelta) -> ReturningUpdate[Any]:
    # A CTE with FOR UPDATE runs exactly once; how often `id IN (subquery)` runs is up to the
    # planner. SQLite drops FOR UPDATE, and needs none: its writers run one at a time.
    available = select(jobs.c.id).where(jobs.c.queue == bindparam("queue_"))
    available = available.where(jobs.c.state == S.AVAILABLE, jobs.c.lane == PLAIN, _is_known())
    picked = (
        available.where(_innocent(available), *_unsteered(bindparam("queue_")))
        .order_by(jobs.c.priority, jobs.c.id)
        .limit(bindparam("most", type_=Integer()))
        .with_for_update(skip_locked=True)
        .cte("picked")
    )
    return _take(picked, clock, lease_for)


@lru_cache
def _claim_these(
    dialect: str, clock: Clock, lease_for: timedelta, *, begun: bool, steered: bool
) -> ReturningUpdate[Any]:
    available = select(jobs.c.id).where(
        is_named(dialect, jobs.c.id), is_just(S.AVAILABLE), _is_known()
    )
    if not steered and not begun:
        limited = select(queue_limits.c.queue).where(LIMITS_CLAIMS)
        available = available.where(jobs.c.lane == PLAIN, jobs.c.queue.not_in(limited))
    picked = (
        (available if begun else available.where(_innocent(available)))
        .with_for_update(skip_locked=True)
        .cte("picked")
    )
    return _take(picked, clock, lease_for)


def _innocent(available: Select[tuple[JobId]]) -> ColumnElement[bool]:
    """Whether a job is no suspect, or is the first of them in a worker that runs none."""
    # In CTEs, because a subquery of `jobs` within `jobs` would speak of the outer row.
    runs = (
        select(jobs.c.id)
        .where(text(SUSPECT), jobs.c.state == S.RUNNING, jobs.c.worker_id == bindparam("worker"))
        .cte("suspect_running")
    )
    first = (
        available.where(text(SUSPECT), ~select(runs.c.id).exists())
        .order_by(jobs.c.priority, jobs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=jobs)
        .cte("suspect")
    )
    return or_(jobs.c.rescues <= 1, jobs.c.id == select(first.c.id).scalar_subquery())


def is_steered(conn: Connection, queue: str) -> bool:
    """Whether a queue has limits, or something available in it has, or takes turns."""
    return not conn.execute(_is_free(), {"queue_": queue}).scalar_one()


@lru_cache
def _is_free() -> Select[Any]:
    return select(and_(*_unsteered(bindparam("queue_"))))


def _unsteered(queue: ColumnElement[str]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Whether nothing is held back in a queue: it has no limits, and nothing in it has."""
    held_back = (
        select(jobs.c.id)
        .where(jobs.c.queue == queue, text("state = 'available'"), jobs.c.lane > PLAIN)
        .limit(1)
        .cte("held_back")
    )
    limited = select(queue_limits.c.queue).where(queue_limits.c.queue == queue, LIMITS_CLAIMS)
    return ~select(held_back.c.id).exists(), ~limited.exists()


def _is_known() -> ColumnElement[bool]:
    return jobs.c.kind.in_(bindparam("kinds", expanding=True))


def _take(picked: CTE, clock: Clock, lease_for: timedelta) -> ReturningUpdate[Any]:
    return (
        update(jobs)
        .where(jobs.c.id == picked.c.id, jobs.c.state == S.AVAILABLE)
        .values(
            state=S.RUNNING,
            attempt=jobs.c.attempt + 1,
            lease_expires_at=clock.now(lease_for),
            worker_id=bindparam("worker"),
            started_at=clock.now(),
            # It has begun: what is submitted from now on is another job.
            repeat_key=kept_repeat_key(),
        )
        .returning(*_TAKEN)
    )
