"""Ended jobs that run again."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, Row, case, insert, literal, select, update
from sqlalchemy.exc import IntegrityError

from milepost.errors import JobNotFound, JobNotRetryable, UniqueKeyTaken
from milepost.jobs.flows import FOR_OTHERS
from milepost.jobs.leases import JobId
from milepost.jobs.states import JobState
from milepost.store import families, flows
from milepost.store.batches import batch, rows
from milepost.store.clock import Clock
from milepost.store.flows import Moved
from milepost.store.moments import Moment
from milepost.store.tables import KEPT, jobs, log_lines

S = JobState


def retry(conn: Connection, clock: Clock, job_id: JobId, *, moved: Moved | None = None) -> str:
    """Send a failed or cancelled job back to available; returns its queue.

    It goes on from its checkpoint with a full budget of failures; the log tells of it. One that
    has waited for others in vain waits again, and takes along what has failed or was cancelled of
    those. Who waits for it, and had failed because of it alone, waits again.
    Raises JobNotFound, JobNotRetryable, or UniqueKeyTaken.
    """
    moved = Moved() if moved is None else moved
    before = conn.execute(
        select(
            jobs.c.id, jobs.c.state, jobs.c.attempt, jobs.c.unique_key, jobs.c.error,
            jobs.c.children, jobs.c.run_at,
        )
        .where(jobs.c.id == job_id)
        .with_for_update()
    ).one_or_none()  # fmt: skip
    if before is None:
        raise JobNotFound(job_id)
    if before.state not in (S.FAILED, S.CANCELLED):
        raise JobNotRetryable(job_id, before.state)
    below = families.lost_below(conn, [job_id]) if families.takes_children_along(before) else []
    try:
        with conn.begin_nested():
            queue = _retry(conn, clock, [before, *below], moved)
    except IntegrityError:
        keyed = next((each for each in (before, *below) if each.unique_key), before)
        raise UniqueKeyTaken(keyed.id, keyed.unique_key) from None
    return queue


def _retry(
    conn: Connection, clock: Clock, again: Sequence[Row[*tuple[Any, ...]]], moved: Moved
) -> str:
    waiting = [row.id for row in again if row.children and row.run_at == FOR_OTHERS]
    given = batch(conn.dialect.name, {"id": BigInteger, "waits": Integer})
    returned = conn.execute(
        update(jobs)
        .where(jobs.c.id == given.c.id, jobs.c.state.in_((S.FAILED, S.CANCELLED)))
        .values(
            state=case((given.c.waits == 1, S.SCHEDULED), else_=S.AVAILABLE),
            failures=0,
            rescues=0,
            error=None,
            result=None,
            run_at=case((given.c.waits == 1, literal(FOR_OTHERS, Moment())), else_=clock.now()),
            finished_at=None,
            cancel_requested_at=None,
            cancel_reason=None,
            children=case((jobs.c.children.is_not(None), KEPT), else_=None),
        )
        .returning(jobs.c.id, jobs.c.queue, jobs.c.state, jobs.c.awaited),
        rows([{"id": row.id, "waits": int(row.id in waiting)} for row in again]),
    ).all()
    before = {row.id: JobState(row.state) for row in again}
    first = again[0]
    moved.available |= {
        row.id: row.queue for row in returned if row.state == S.AVAILABLE and row.id != first.id
    }
    awaited = {row.id: before[row.id] for row in returned if row.awaited}
    above: Sequence[Row[*tuple[Any, ...]]] = ()
    if awaited or waiting:
        above = flows.return_to_parents(conn, clock, awaited, waiting, moved)
    told = [(first, f"retried on request; {_was(first)}")]
    told += [(row, f"retried with job {first.id}; {_was(row)}") for row in again[1:]]
    told += [(row, f"waits again: job {first.id} was retried") for row in above]
    conn.execute(
        insert(log_lines).values(at=clock.now(), level="info"),
        [{"job_id": row.id, "attempt": row.attempt, "message": line} for row, line in told],
    )
    queues: dict[JobId, str] = {row.id: row.queue for row in returned}
    return queues[first.id]


def _was(row: Row[*tuple[Any, ...]]) -> str:
    return f"was {row.state}" + (f": {row.error}" if row.error else "")
