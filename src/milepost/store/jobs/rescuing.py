"""What becomes of jobs whose worker is gone."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, case, or_, select, tuple_, update

from milepost.jobs.leases import Lease
from milepost.jobs.states import FINAL, JobState
from milepost.store import attempts, flows, notices
from milepost.store.clock import Clock
from milepost.store.flows import Moved
from milepost.store.jobs.rows import children_when
from milepost.store.tables import STOP, jobs

S = JobState


@dataclass(frozen=True, slots=True)
class Rescued:
    """A job taken from a worker that is gone."""

    lease: Lease
    kind: str
    queue: str
    worker_id: str
    state: JobState
    why: str


def rescue(
    conn: Connection,
    clock: Clock,
    *,
    dead_workers: Sequence[str] = (),
    most_rescues: int = 3,
    limit: int = 500,
    spared: Sequence[Lease] = (),
    moved: Moved | None = None,
) -> list[Rescued]:
    """Take jobs back whose lease has expired, or whose worker is known to be dead.

    Never by age: a healthy job renews its lease, however long it runs. A job whose workers
    died `most_rescues` times in a row, with nothing new saved between, fails: it is what kills
    them. `spared` are leases of the worker that asks: it is alive, if late to renew.
    """
    expired = jobs.c.lease_expires_at < clock.now()
    of_the_dead = jobs.c.worker_id.in_(dead_workers)
    gone = (
        select(jobs.c.id)
        .where(
            jobs.c.state == S.RUNNING,
            jobs.c.lease_expires_at.is_not(None),
            or_(expired, of_the_dead) if dead_workers else expired,
            tuple_(jobs.c.id, jobs.c.attempt).not_in([(x.job_id, x.attempt) for x in spared]),
        )
        # As the index has them: in the order of ids, SQLite would read every job there is.
        .order_by(jobs.c.lease_expires_at, jobs.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("gone")
    )
    kills = jobs.c.rescues + 1 >= most_rescues
    message = (
        f"its worker died {most_rescues} times in a row while running it, nothing new saved between"
    )
    taken = conn.execute(
        update(jobs)
        .where(jobs.c.id == gone.c.id, jobs.c.state == S.RUNNING)
        .values(
            state=case(
                (jobs.c.cancel_requested_at.is_not(None), S.CANCELLED),
                (kills, S.FAILED),
                else_=S.AVAILABLE,
            ),
            finished_at=case(
                (or_(jobs.c.cancel_requested_at.is_not(None), kills), clock.now()), else_=None
            ),
            error=case((kills, message), else_=jobs.c.error),
            rescues=jobs.c.rescues + 1,
            run_at=clock.now(),
            lease_expires_at=None,
            children=children_when(jobs.c.cancel_requested_at.is_not(None)),
        )
        .returning(
            jobs.c.id, jobs.c.attempt, jobs.c.kind, jobs.c.queue, jobs.c.worker_id, jobs.c.state,
            jobs.c.awaited, jobs.c.children,
        )
    ).all()  # fmt: skip
    rescued = [
        Rescued(
            Lease(row.id, row.attempt),
            row.kind,
            row.queue,
            row.worker_id,
            JobState(row.state),
            f"worker {row.worker_id} "
            + ("is dead" if row.worker_id in dead_workers else "let its lease expire"),
        )
        for row in taken
    ]
    attempts.record(
        conn,
        clock,
        [
            {
                "id": r.lease.job_id,
                "attempt": r.lease.attempt,
                "outcome": "rescued",
                "state": r.state,
                "error": r.why,
            }
            for r in rescued
        ],
    )
    notices.of_failed(conn, clock, [r.lease.job_id for r in rescued if r.state is S.FAILED])
    moved = Moved() if moved is None else moved
    moved.stopping = moved.stopping or any(row.children == STOP for row in taken)
    ended = {row.id: JobState(row.state) for row in taken if row.awaited and row.state in FINAL}
    if ended:
        flows.settled(conn, clock, ended, moved)
    return rescued
