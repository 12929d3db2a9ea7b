"""What a job's end, or its return, means for those that wait for it.

Each parent has its counts in `joins`; they change in the transaction that moves the child, in one
statement for any number of children. Locks are taken in one order: jobs that run or are available,
then the counts, by the parents' ids, then the parents that wait. So those who settle children of
the same parents wait for each other, and never in a circle.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Row,
    case,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from milepost.errors import JobNotFound
from milepost.jobs.leases import JobId
from milepost.jobs.outcomes import OnFailure
from milepost.jobs.requests import JobRequest
from milepost.jobs.states import FINAL, JobState
from milepost.store import families, flow_statements, notices
from milepost.store.batches import batch, ids, is_named, rows
from milepost.store.clock import Clock
from milepost.store.encoding import storable
from milepost.store.families import AWAITS
from milepost.store.tables import KEPT, STOP, family, jobs, joins
from milepost.store.upserts import insert_into

S = JobState
LONGEST_REASON = 300


@dataclass(slots=True)
class Moved:
    """Which other jobs a move has moved; who asked for it announces and sends them.

    `available`: with their queues. `ended`: failed or cancelled. `told`: they run, and are to stop.
    `stopping`: there are children to be cancelled (`children.stop`).
    """

    available: dict[JobId, str] = field(default_factory=dict)
    ended: list[JobId] = field(default_factory=list)
    told: list[JobId] = field(default_factory=list)
    stopping: bool = False

    @property
    def job_ids(self) -> list[JobId]:
        """All that a broker must hear of."""
        return [*self.available, *self.ended]


def look(conn: Connection, job_ids: Iterable[JobId]) -> dict[JobId, JobState]:
    """Read the states of jobs that others are to wait for; they stay so until the commit.

    Raises JobNotFound.
    """
    wanted = sorted(set(job_ids))
    if not wanted:
        return {}
    found = conn.execute(
        select(jobs.c.id, jobs.c.state)
        .where(is_named(conn.dialect.name, jobs.c.id))
        .order_by(case((AWAITS, 1), else_=0), jobs.c.id)
        .with_for_update(key_share=True),
        ids(wanted),
    ).all()
    states = {row.id: JobState(row.state) for row in found}
    missing = next((each for each in wanted if each not in states), None)
    if missing is not None:
        raise JobNotFound(missing)
    return states


def begin(
    conn: Connection,
    clock: Clock,
    waiting: Mapping[JobId, tuple[JobRequest, Mapping[str, Any]]],
    states: Mapping[JobId, JobState],
    moved: Moved,
) -> None:
    """Let new jobs wait for others, whose states are those of `look`.

    `waiting`: of each its request, and how that is spelled.
    """
    counted = [
        {
            "id": job_id,
            "pending": sum(states[each] not in FINAL for each in request.after),
            "lost": sum(states[each] in (S.FAILED, S.CANCELLED) for each in request.after),
            "on_failure": request.on_failure,
            "delay": spelled["delay"],
            "run_at": spelled["run_at"],
        }
        for job_id, (request, spelled) in waiting.items()
    ]
    begun = conn.execute(flow_statements.begin(conn.dialect.name, clock), rows(counted)).all()
    relate(conn, [(new, each) for new, (request, _) in waiting.items() for each in request.after])
    conn.execute(
        update(jobs)
        .where(is_named(conn.dialect.name, jobs.c.id), ~jobs.c.awaited)
        .values(awaited=true()),
        ids(list(states)),
    )
    go_on(conn, clock, begun, moved)


def relate(conn: Connection, pairs: Sequence[tuple[JobId, JobId]]) -> None:
    """Note which jobs wait for which: pairs of a parent and its child."""
    given = batch(conn.dialect.name, {"job_id": BigInteger, "child_id": BigInteger})
    conn.execute(
        insert(family).from_select(
            ["job_id", "child_id"], select(given.c.job_id, given.c.child_id)
        ),
        rows([{"job_id": job_id, "child_id": child_id} for job_id, child_id in pairs]),
    )


def adopted(
    conn: Connection,
    clock: Clock,
    job_id: JobId,
    *,
    new: int = 0,
    on_failure: OnFailure | None = None,
) -> Row[Any]:
    """Count new children of a job, or say what it does where one fails; returns its counts."""
    upsert = insert_into(conn.dialect.name, joins).values(
        job_id=job_id, pending=new, lost=0, on_failure=on_failure or "fail", run_at=clock.now()
    )
    counts: Row[Any] = conn.execute(
        upsert.on_conflict_do_update(
            index_elements=[joins.c.job_id],
            set_={
                "pending": joins.c.pending + new,
                "on_failure": joins.c.on_failure if on_failure is None else on_failure,
                "run_at": clock.now(),
            },
        ).returning(joins.c.job_id, joins.c.pending, joins.c.lost, joins.c.on_failure)
    ).one()
    return counts


def settled(
    conn: Connection,
    clock: Clock,
    ended: Mapping[JobId, JobState],
    moved: Moved,
    *,
    waiting: Mapping[JobId, OnFailure] | None = None,
) -> None:
    """Tell of jobs that have ended those that wait for them.

    `waiting` are jobs that have just begun to wait for their children. Those may all have ended
    by now.
    """
    counts: dict[JobId, Row[Any]] = {}
    if waiting:
        _lock(conn, ended, waiting)
        for job_id, on_failure in sorted(waiting.items()):
            counts[job_id] = adopted(conn, clock, job_id, on_failure=on_failure)
        # Nobody else has sent what was submitted with a checkpoint.
        moved.available |= families.available(conn, list(waiting))
    if ended:
        counts |= {row.job_id: row for row in _count(conn, ended)}
    go_on(conn, clock, counts.values(), moved)


def go_on(conn: Connection, clock: Clock, counts: Iterable[Row[Any]], moved: Moved) -> None:
    """Move the parents whose wait is over, and theirs, for as long as one ends by that."""
    while counts:
        free, broken = [], []
        for row in counts:
            if row.lost and row.on_failure != "go-on":
                broken.append(row)
            elif row.pending == 0:
                free.append(row.job_id)
        if free:
            freed = conn.execute(flow_statements.free(conn.dialect.name, clock), ids(free)).all()
            moved.available.update({r.id: r.queue for r in freed if r.state == S.AVAILABLE})
        failed = _break(conn, clock, broken) if broken else []
        moved.ended += [row.id for row in failed]
        moved.stopping = moved.stopping or any(row.children == STOP for row in failed)
        awaited = {row.id: S.FAILED for row in failed if row.awaited}
        counts = _count(conn, awaited) if awaited else ()


def _count(conn: Connection, ended: Mapping[JobId, JobState], *, by: int = 1) -> Sequence[Row[Any]]:
    """Count the end of jobs with their parents; `by` -1: they go on after all."""
    changes = [
        {"id": job_id, "pending": -by, "lost": by * (state is not S.COMPLETED)}
        for job_id, state in ended.items()
    ]
    return conn.execute(flow_statements.change(conn.dialect.name), rows(changes)).all()


def _break(conn: Connection, clock: Clock, broken: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """Fail jobs of which one that they wait for has failed, or was cancelled."""
    first = (
        select(family.c.job_id, func.min(family.c.child_id).label("child_id"))
        .join_from(family, jobs, jobs.c.id == family.c.child_id)
        .where(
            is_named(conn.dialect.name, family.c.job_id),
            jobs.c.state.in_((S.FAILED, S.CANCELLED)),
        )
        .group_by(family.c.job_id)
        .subquery()
    )
    causes = conn.execute(
        select(first.c.job_id, jobs.c.id, jobs.c.kind, jobs.c.state, jobs.c.error).join_from(
            first, jobs, jobs.c.id == first.c.child_id
        ),
        ids([row.job_id for row in broken]),
    ).all()
    stops = {row.job_id: row.on_failure == "cancel" for row in broken}
    reasons = [
        {
            "id": cause.job_id,
            "error": storable(_reason(cause)),
            "children": STOP if stops[cause.job_id] else KEPT,
        }
        for cause in causes
    ]
    failed = conn.execute(flow_statements.fail(conn.dialect.name, clock), rows(reasons)).all()
    gone = [row.id for row in failed]
    notices.of_failed(conn, clock, gone)
    if gone:
        named = is_named(conn.dialect.name, joins.c.job_id)
        conn.execute(update(joins).where(named).values(broke=true()), ids(gone))
    return failed


def _reason(cause: Row[*tuple[Any, ...]]) -> str:
    error = (cause.error or "").partition("\n")[0][:LONGEST_REASON]
    why = f"failed: {error}" if cause.state == S.FAILED else "was cancelled"
    return f"job {cause.id} ({cause.kind}), which it waits for, {why}"


def return_to_parents(
    conn: Connection,
    clock: Clock,
    again: Mapping[JobId, JobState],
    waiting: Sequence[JobId],
    moved: Moved,
) -> list[Row[Any]]:
    """Tell of jobs that go on after all those that wait for them; returns who waits again by that.

    `again`: what they had ended as. `waiting`: jobs that were themselves made to wait again.
    """
    counts: dict[JobId, Row[Any]] = {}
    returned: list[Row[Any]] = []
    while again:
        changed = {row.job_id: row for row in _count(conn, again, by=-1)}
        counts |= changed
        whole = [each for each, row in changed.items() if not row.lost and each not in waiting]
        freed = (
            conn.execute(flow_statements.wait_again(conn.dialect.name), ids(whole)).all()
            if whole
            else []
        )
        returned += freed
        again = {row.id: S.FAILED for row in freed if row.awaited}
    missing = [each for each in waiting if each not in counts]
    if missing:
        found = conn.execute(
            select(joins).where(is_named(conn.dialect.name, joins.c.job_id)), ids(missing)
        ).all()
        counts |= {row.job_id: row for row in found}
    go_on(conn, clock, [counts[each] for each in waiting if each in counts], moved)
    return returned


def recount(conn: Connection, clock: Clock, job_ids: Sequence[JobId], moved: Moved) -> None:
    """Count the children of waiting jobs anew, and move those whose wait is over."""
    if not job_ids:
        return
    named = is_named(conn.dialect.name, joins.c.job_id)
    # Locked first: the statement that counts must see all that was committed until then.
    conn.execute(
        select(joins.c.job_id).where(named).order_by(joins.c.job_id).with_for_update(),
        ids(job_ids),
    ).all()
    children = (
        select(func.count())
        .join_from(family, jobs, jobs.c.id == family.c.child_id)
        .where(family.c.job_id == joins.c.job_id)
    )
    counts = conn.execute(
        update(joins)
        .where(named)
        .values(
            pending=children.where(jobs.c.finished_at.is_(None)).scalar_subquery(),
            lost=children.where(jobs.c.state.in_((S.FAILED, S.CANCELLED))).scalar_subquery(),
        )
        .returning(joins.c.job_id, joins.c.pending, joins.c.lost, joins.c.on_failure),
        ids(job_ids),
    ).all()
    go_on(conn, clock, counts, moved)


def _lock(
    conn: Connection, ended: Mapping[JobId, JobState], waiting: Mapping[JobId, OnFailure]
) -> None:
    """Lock all the counts that will change, in the order of the parents."""
    if conn.dialect.name == "sqlite" or not ended:
        return
    parents = select(family.c.job_id).where(family.c.child_id.in_(list(ended)))
    conn.execute(
        select(joins.c.job_id)
        .where(or_(joins.c.job_id.in_(parents), joins.c.job_id.in_(list(waiting))))
        .order_by(joins.c.job_id)
        .with_for_update()
    ).all()
