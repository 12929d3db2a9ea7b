"""Children that a handler submits, and those that are to stop with their parent."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import Connection, select, text, update

from milepost.errors import LeaseLost
from milepost.jobs.leases import JobId, Lease
from milepost.jobs.requests import JobRequest
from milepost.jobs.states import FINAL, UNFINISHED, JobState
from milepost.store import flows, jobs
from milepost.store.clock import Clock
from milepost.store.families import AWAITS
from milepost.store.flows import Moved
from milepost.store.tables import KEPT, STOP, family
from milepost.store.tables import jobs as table

S = JobState


def add(
    conn: Connection,
    clock: Clock,
    lease: Lease,
    requests: Callable[[str | None], Sequence[JobRequest]],
) -> list[JobId]:
    """Submit jobs that a running one may wait for.

    `requests` makes them for its owner, whose they are where they name none: what holds a job back
    may be its owner's.
    Raises LeaseLost, which rolls back what was written beside it.
    """
    parent = conn.execute(
        update(table)
        .where(
            table.c.id == lease.job_id,
            table.c.attempt == lease.attempt,
            table.c.state == S.RUNNING,
        )
        .values(children=KEPT)
        .returning(table.c.owner)
    ).one_or_none()
    if parent is None:
        raise LeaseLost(f"{lease} no longer holds its lease: its children were not submitted")
    submitted = jobs.submit(
        conn,
        clock,
        [replace(each, awaited=True) for each in requests(parent.owner)],
    )
    new = [each.job_id for each in submitted]
    flows.relate(conn, [(lease.job_id, each) for each in new])
    flows.adopted(conn, clock, lease.job_id, new=len(new))
    return new


def stopping(conn: Connection, *, limit: int) -> list[JobId]:
    """Which jobs have ended so that their children are to be cancelled with them."""
    return list(
        conn.execute(select(table.c.id).where(text("children = 'stop'")).limit(limit)).scalars()
    )


def stop(conn: Connection, clock: Clock, job_id: JobId, *, limit: int, moved: Moved) -> int:
    """Ask children of a job that has ended to stop, those that nobody else waits for.

    Returns how many; at the last call none. One whose row is locked just now, because it ends or
    saves, is left to a later call: so nobody waits in a circle.
    """
    unfinished = tuple(UNFINISHED)
    other, waiting = family.alias("other"), table.alias("waiting")
    needed = (
        select(other.c.job_id)
        .join_from(other, waiting, waiting.c.id == other.c.job_id)
        .where(other.c.child_id == table.c.id, waiting.c.state.in_(unfinished))
    )
    children = select(family.c.child_id).where(family.c.job_id == job_id)
    meant = (
        select(table.c.id)
        .where(
            table.c.id.in_(children),
            table.c.state.in_(unfinished),
            table.c.cancel_requested_at.is_(None),
            ~needed.exists(),
        )
        .order_by(table.c.id)
        .limit(limit)
    )
    found = list(conn.execute(meant.with_for_update(skip_locked=True, key_share=True)).scalars())
    if found:
        reason = f"job {job_id}, which waits for it, has ended"
        states = jobs.cancel_these(conn, clock, found, reason, moved=moved)
        moved.ended += [each for each, state in states.items() if state in FINAL]
        moved.told += [each for each, state in states.items() if state is S.RUNNING]
    elif conn.execute(meant.limit(1)).first() is None:
        conn.execute(
            update(table)
            .where(table.c.id == job_id, table.c.children == STOP)
            .values(children=KEPT)
        )
    return len(found)


def stuck(conn: Connection, *, limit: int) -> list[JobId]:
    """Which jobs wait though nothing is left to wait for.

    There are none, but where a worker of an older version has settled children.
    """
    child = table.alias("child")
    left = (
        select(family.c.job_id)
        .join_from(family, child, child.c.id == family.c.child_id)
        .where(family.c.job_id == table.c.id, child.c.finished_at.is_(None))
    )
    found = conn.execute(select(table.c.id).where(AWAITS, ~left.exists()).limit(limit))
    return list(found.scalars())
