"""The state machine: one function and one statement for each move of a job.

Every statement names the states it moves from; those of an attempt name its number too. What
moves where is `TRANSITIONS` in `jobs/states.py`; the tests hold each function against it.

    submit      → scheduled | available; so does adopt (`adoption.py`), for the broker's own jobs
    promote       scheduled → available
    flows         scheduled, for others → available | scheduled | failed, as those have ended;
                  failed → scheduled, as one of those is retried (`flows.py`)
    claim         available → running, attempt + 1, a lease
    renew         running, with a later end of its lease
    settle        running → completed | failed | cancelled | scheduled | available
    rescue        running, lease expired or worker dead → available | failed | cancelled
    cancel        scheduled | available → cancelled; running: a request with a time
    retry         failed | cancelled → available | scheduled

Those that run thousands of times a second are built once (`lru_cache`): building one takes longer
than running it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from milepost.errors import JobEnded, JobNotFound, JobNotRetryable, UniqueKeyTaken
from milepost.jobs.flows import FOR_OTHERS
from milepost.jobs.leases import ClaimedJob, HeldLease, JobId, Lease, Settlement
from milepost.jobs.limits import PLAIN
from milepost.jobs.outcomes import Waiting
from milepost.jobs.repeats import DEBOUNCED
from milepost.jobs.requests import JobRequest
from milepost.jobs.states import FINAL, JobState
from milepost.store import attempts, families, flows, notices
from milepost.store.batches import batch, held, ids, is_named, rows
from milepost.store.clock import Clock
from milepost.store.encoding import (
    SETTLED,
    SUBMITTED,
    decode_backoff,
    due,
    encode_request,
    encode_settlement,
    moment_of,
    storable,
)
from milepost.store.flows import Moved
from milepost.store.moments import Moment
from milepost.store.tables import (
    KEPT,
    LIMITS_CLAIMS,
    STOP,
    SUSPECT,
    UNFINISHED_WITH_KEY,
    jobs,
    log_lines,
    queue_limits,
)

S = JobState


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of one request: a new job, or the unfinished one with its unique key."""

    job_id: JobId
    existed: bool = False


def submit(
    conn: Connection, clock: Clock, requests: Sequence[JobRequest], *, moved: Moved | None = None
) -> list[Submitted]:
    """Store new jobs as available, or scheduled if they have a time or wait for others; in order.

    Raises JobNotFound where one is to wait for a job that is not there.
    """
    if not requests:
        return []
    known = flows.look(conn, (each for request in requests for each in request.after))
    encoded = [encode_request(request) for request in requests]
    # Those of no flow are most, and pay for none.
    flow = any(each.after or each.awaited for each in requests)
    stored = conn.execute(_submit(conn.dialect.name, clock, flow=flow), rows(encoded)).all()
    # Ids go up in the order of the rows, whatever order RETURNING gives them in.
    plain = iter(sorted(row.id for row in stored if row.unique_key is None))
    keyed = {row.unique_key: row.id for row in stored if row.unique_key is not None}
    submitted = []
    waiting = {}
    for request, spelled in zip(requests, encoded, strict=True):
        key = spelled["unique_key"]
        new = next(plain) if key is None else keyed.pop(key, None)
        if new is None:
            submitted.append(_unfinished(conn, clock, request, key, moved))
            continue
        submitted.append(Submitted(new))
        if request.after:
            waiting[new] = (request, spelled)
    if waiting:
        flows.begin(conn, clock, waiting, known, Moved() if moved is None else moved)
    return submitted


@lru_cache
def _submit(dialect: str, clock: Clock, *, flow: bool) -> ReturningInsert[Any]:
    statement: ReturningInsert[Any] = (
        insert_batch(dialect, clock, flow=flow)
        .on_conflict_do_nothing(
            index_elements=[jobs.c.unique_key], index_where=text(UNFINISHED_WITH_KEY)
        )
        .returning(jobs.c.id, jobs.c.unique_key)
    )
    return statement


def insert_batch(dialect: str, clock: Clock, *, flow: bool = False) -> Any:
    """Spell the insert of the requests in the parameter `batch`, as rows of SUBMITTED.

    `flow` where some of them wait for others, or are waited for.
    """
    given = batch(dialect, SUBMITTED)
    starts = due(dialect, clock, given)
    later = case((given.c.run_at.is_not(None), starts > clock.now()), else_=given.c.delay > 0)
    state: ColumnElement[Any] = case((later, S.SCHEDULED), else_=S.AVAILABLE)
    computed = ("delay", "run_at", "scheduled_for", "waits", "awaited")
    copied = [name for name in SUBMITTED if name not in computed]
    columns = [*copied, "state", "run_at", "created_at", "scheduled_for"]
    more: list[ColumnElement[Any]] = []
    if flow:
        waits = given.c.waits == 1
        state = case((waits, S.SCHEDULED), else_=state)
        starts = case((waits, literal(FOR_OTHERS, Moment())), else_=starts)
        columns += ["awaited", "children"]
        more = [given.c.awaited == 1, case((waits, KEPT), else_=None)]
    values = select(
        *(given.c[name] for name in copied),
        state,
        starts,
        clock.now(),
        moment_of(dialect, given.c.scheduled_for),
        *more,
        # Without a WHERE, SQLite reads the conflict clause as a join's ON.
    ).where(text("1 = 1"))
    upsert: Any = sqlite if dialect == "sqlite" else postgresql
    return upsert.insert(jobs).from_select(columns, values)


def _unfinished(
    conn: Connection, clock: Clock, request: JobRequest, unique_key: str, moved: Moved | None
) -> Submitted:
    found = conn.execute(
        select(jobs.c.id).where(jobs.c.unique_key == unique_key, text(UNFINISHED_WITH_KEY))
    ).scalar()
    if found is not None:
        return Submitted(found, existed=True)
    # It finished between the two statements, so the key is free again.
    return submit(conn, clock, [request], moved=moved)[0]


class QueuedJob(NamedTuple):
    """A job and its queue."""

    job_id: JobId
    queue: str


def promote(conn: Connection, clock: Clock, *, limit: int) -> list[QueuedJob]:
    """Make scheduled jobs available whose time has come."""
    due = (
        select(jobs.c.id)
        .where(jobs.c.state == S.SCHEDULED, jobs.c.run_at <= clock.now())
        .order_by(jobs.c.run_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return _promote(conn, due, {})


def promote_these(conn: Connection, clock: Clock, job_ids: Sequence[JobId]) -> list[QueuedJob]:
    """Make those of these jobs available that are scheduled and due."""
    due = (
        select(jobs.c.id)
        .where(
            is_named(conn.dialect.name, jobs.c.id),
            _is_just(S.SCHEDULED),
            jobs.c.run_at <= clock.now(),
        )
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return _promote(conn, due, ids(job_ids))


def _promote(conn: Connection, due: CTE, parameters: Mapping[str, Any]) -> list[QueuedJob]:
    promoted = conn.execute(
        update(jobs)
        .where(jobs.c.id == due.c.id, jobs.c.state == S.SCHEDULED)
        .values(state=S.AVAILABLE)
        .returning(jobs.c.id, jobs.c.queue),
        parameters,
    )
    return [QueuedJob(row.id, row.queue) for row in promoted.all()]


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


def _claimed(claimed: Sequence[Row[Any]], *, steered: bool = False) -> list[ClaimedJob]:
    return [
        ClaimedJob(
            lease=Lease(row.id, row.attempt),
            kind=row.kind,
            queue=row.queue,
            args=row.args,
            checkpoint=row.checkpoint,
            failures=row.failures,
            max_attempts=row.max_attempts,
            backoff=decode_backoff(row.backoff),
            time_limit=None if row.time_limit is None else timedelta(seconds=row.time_limit),
            started_at=row.started_at,
            broker_id=row.broker_id,
            run_at=row.run_at,
            trace=row.trace,
            lane=row.lane,
            steered=steered or row.lane != PLAIN,
            scheduled_for=row.scheduled_for,
        )
        # RETURNING has no order.
        for row in sorted(claimed, key=lambda row: (row.priority, row.id))
    ]


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
        is_named(dialect, jobs.c.id), _is_just(S.AVAILABLE), _is_known()
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


def is_steered(conn: Connection, queue: str) -> bool:
    """Whether a queue has limits, or something available in it has, or takes turns."""
    return not conn.execute(_is_free(), {"queue_": queue}).scalar_one()


@lru_cache
def _is_free() -> Select[Any]:
    return select(and_(*_unsteered(bindparam("queue_"))))


def _is_known() -> ColumnElement[bool]:
    return jobs.c.kind.in_(bindparam("kinds", expanding=True))


def _is_just(state: JobState) -> ColumnElement[bool]:
    """The state of a job that is found by its id.

    Spelled so that no partial index fits: a planner without fresh statistics would read the whole
    index of what waits, and all that died in it, instead of the few rows that are named.
    """
    return jobs.c.state.concat("") == state


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
            repeat_key=_kept_repeat_key(),
        )
        .returning(
            jobs.c.id, jobs.c.attempt, jobs.c.kind, jobs.c.queue, jobs.c.args, jobs.c.checkpoint,
            jobs.c.failures, jobs.c.max_attempts, jobs.c.backoff, jobs.c.time_limit,
            jobs.c.started_at, jobs.c.priority, jobs.c.broker_id, jobs.c.run_at, jobs.c.trace,
            jobs.c.lane, jobs.c.scheduled_for,
        )
    )  # fmt: skip


def _kept_repeat_key() -> ColumnElement[str | None]:
    """What a job keeps of its key when it can be debounced no more."""
    return case((jobs.c.repeat_key.startswith(DEBOUNCED), None), else_=jobs.c.repeat_key)


def renew(
    conn: Connection, clock: Clock, leases: Sequence[Lease], *, lease_for: timedelta
) -> list[HeldLease]:
    """Extend leases; those not returned are lost."""
    named = held(conn.dialect.name, {"id": BigInteger, "attempt": Integer})
    extended = conn.execute(
        update(jobs)
        .where(
            jobs.c.id == named.c.id,
            jobs.c.attempt == named.c.attempt,
            jobs.c.state == S.RUNNING,
        )
        .values(lease_expires_at=clock.now(lease_for))
        .returning(jobs.c.id, jobs.c.attempt, jobs.c.cancel_requested_at, jobs.c.cancel_reason),
        rows([{"id": lease.job_id, "attempt": lease.attempt} for lease in leases]),
    ).all()
    return [
        HeldLease(
            Lease(row.id, row.attempt),
            row.cancel_requested_at is not None,
            row.cancel_reason,
            row.cancel_requested_at,
        )
        for row in extended
    ]


def settle(
    conn: Connection,
    clock: Clock,
    settlements: Sequence[Settlement],
    *,
    moved: Moved | None = None,
) -> dict[Lease, JobState]:
    """Record how attempts ended and end their leases; those not returned are lost.

    Who waits for what has ended is told in the same transaction, and is found in `moved`.

    A job that was cancelled while it ran does not run again: what would bring it back to
    scheduled or available ends it as cancelled. One that finished first keeps its end. One that
    crashed, and whose process or worker has died so often in a row, fails as in `rescue`.
    """
    if not settlements:
        return {}
    encoded = {s.job.lease: encode_settlement(s) for s in settlements}
    settled = conn.execute(_settle(conn.dialect.name, clock), rows(list(encoded.values()))).all()
    states = {Lease(row.id, row.attempt): JobState(row.state) for row in settled}
    moved = Moved() if moved is None else moved
    moved.stopping = moved.stopping or any(row.children == STOP for row in settled)
    # Before the history is written: what began to wait may have moved on already.
    states |= _tell_family(conn, clock, settlements, settled, moved)
    attempts.record(
        conn, clock, [{**encoded[lease], "state": state} for lease, state in states.items()]
    )
    # Who failed because of others is told of where that is done.
    notices.of_failed(conn, clock, [row.id for row in settled if row.state == S.FAILED])
    # At its first attempt nothing can recover, but what has failed because of its children.
    notices.of_completed(conn, clock, [
        row.id for row in settled
        if row.state == S.COMPLETED and (row.attempt > 1 or row.children is not None)
    ])  # fmt: skip
    if len(states) < len(encoded):
        # The answer to a COMMIT may have been lost; then this is the second time of asking.
        lost = [lease for lease in encoded if lease not in states]
        states |= attempts.settled_before(conn, lost)
    return states


def _tell_family(
    conn: Connection,
    clock: Clock,
    settlements: Sequence[Settlement],
    settled: Sequence[Row[Any]],
    moved: Moved,
) -> dict[Lease, JobState]:
    """Tell parents of their children's end; returns what has moved on among those just settled."""
    ended = {row.id: JobState(row.state) for row in settled if row.awaited and row.state in FINAL}
    waiting = {s.job.lease.job_id: s.outcome.on_failure
               for s in settlements if isinstance(s.outcome, Waiting)}  # fmt: skip
    begun = {row.id: waiting[row.id] for row in settled
             if row.id in waiting and row.state == S.SCHEDULED} if waiting else {}  # fmt: skip
    if not ended and not begun:
        return {}
    flows.settled(conn, clock, ended, moved, waiting=begun)
    failed = set(moved.ended)
    return {
        Lease(row.id, row.attempt): S.AVAILABLE if row.id in moved.available else S.FAILED
        for row in settled
        if row.id in begun and (row.id in moved.available or row.id in failed)
    }


@lru_cache
def _settle(dialect: str, clock: Clock) -> ReturningUpdate[Any]:
    ended = held(dialect, SETTLED)
    to_run_again = ended.c.state.in_((S.SCHEDULED, S.AVAILABLE))
    crashed = ended.c.most_rescues.is_not(None)
    # Decided here, because what the attempt saved may have begun the count anew.
    kills = jobs.c.rescues + 1 >= ended.c.most_rescues
    state = case(
        (and_(to_run_again, jobs.c.cancel_requested_at.is_not(None)), S.CANCELLED),
        (kills, S.FAILED),
        else_=ended.c.state,
    )
    return (
        update(jobs)
        .where(
            jobs.c.id == ended.c.id,
            jobs.c.attempt == ended.c.attempt,
            jobs.c.state == S.RUNNING,
        )
        .values(
            state=state,
            result=ended.c.result,
            # What a retry made good is no error of the job's; its attempts keep it.
            error=case(
                (state == S.COMPLETED, None),
                (kills, ended.c.last_error),
                # Its reason is no error.
                (ended.c.outcome == "snoozed", jobs.c.error),
                else_=func.coalesce(ended.c.error, jobs.c.error),
            ),
            failures=jobs.c.failures + ended.c.failed,
            # Of what was given back nobody knows how it would have gone on. Whatever else the
            # outcome: its process has lived to tell it.
            rescues=case(
                (crashed, jobs.c.rescues + 1),
                (ended.c.outcome.in_(("interrupted", "misfit")), jobs.c.rescues),
                else_=0,
            ),
            run_at=case(
                (
                    ended.c.state == S.SCHEDULED,
                    case(
                        (ended.c.outcome == "waiting", literal(FOR_OTHERS, Moment())),
                        else_=clock.later(dialect, ended.c.delay),
                    ),
                ),
                # Since when it could run again: that it ran meanwhile was no waiting.
                (state == S.AVAILABLE, clock.now()),
                else_=jobs.c.run_at,
            ),
            finished_at=case((state.in_(FINAL), clock.now()), else_=None),
            lease_expires_at=None,
            children=_children_when(state == S.CANCELLED),
        )
        .returning(jobs.c.id, jobs.c.attempt, jobs.c.state, jobs.c.awaited, jobs.c.children)
    )


def _children_when(cancelled: ColumnElement[bool]) -> ColumnElement[str | None]:
    """What is to become of a job's children: they are cancelled with it."""
    # Asked in this order: nearly none has any.
    return case(
        (jobs.c.children.is_(None), None),
        (and_(jobs.c.children == KEPT, cancelled), STOP),
        else_=jobs.c.children,
    )


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
            children=_children_when(jobs.c.cancel_requested_at.is_not(None)),
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


def cancel(
    conn: Connection,
    clock: Clock,
    job_id: JobId,
    reason: str | None,
    *,
    moved: Moved | None = None,
) -> JobState:
    """Ask a job to stop, and say which state that leaves it in.

    Cancelled: it never starts (again). Running: the request stands, its attempt will see it.
    Completed, failed or cancelled before: it had finished first. Raises JobNotFound.
    """
    moved = Moved() if moved is None else moved
    asked = cancel_these(conn, clock, [job_id], reason, moved=moved)
    return asked[job_id] if job_id in asked else state_of(conn, job_id)


def cancel_these(
    conn: Connection,
    clock: Clock,
    job_ids: Sequence[JobId],
    reason: str | None,
    *,
    moved: Moved,
) -> dict[JobId, JobState]:
    """Ask jobs to stop; returns the states of those that had not ended. See `cancel`."""
    asked = conn.execute(
        update(jobs)
        .where(
            is_named(conn.dialect.name, jobs.c.id),
            jobs.c.state.in_((S.SCHEDULED, S.AVAILABLE, S.RUNNING)),
        )
        .values(
            state=case((jobs.c.state == S.RUNNING, S.RUNNING), else_=S.CANCELLED),
            cancel_requested_at=func.coalesce(jobs.c.cancel_requested_at, clock.now()),
            cancel_reason=func.coalesce(jobs.c.cancel_reason, reason and storable(reason)),
            repeat_key=_kept_repeat_key(),
            finished_at=case((jobs.c.state == S.RUNNING, None), else_=clock.now()),
            children=_children_when(jobs.c.state != S.RUNNING),
        )
        .returning(jobs.c.id, jobs.c.state, jobs.c.awaited, jobs.c.children),
        ids(job_ids),
    ).all()
    moved.stopping = moved.stopping or any(row.children == STOP for row in asked)
    ended = {row.id: S.CANCELLED for row in asked if row.awaited and row.state == S.CANCELLED}
    if ended:
        flows.settled(conn, clock, ended, moved)
    return {row.id: JobState(row.state) for row in asked}


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


def reprioritise(conn: Connection, job_id: JobId, priority: int) -> None:
    """Give a job that has not ended another priority. Raises JobNotFound or JobEnded."""
    moved = conn.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state.in_((S.SCHEDULED, S.AVAILABLE, S.RUNNING)))
        .values(priority=priority)
    )
    if moved.rowcount == 0:
        raise JobEnded(job_id, state_of(conn, job_id))


def any_expired(conn: Connection, clock: Clock) -> bool:
    """Whether there is something to rescue; asks without waiting for a writer."""
    expired = select(jobs.c.id).where(
        jobs.c.state == S.RUNNING, jobs.c.lease_expires_at < clock.now()
    )
    return conn.execute(expired.limit(1)).scalar() is not None


def expired_of(
    conn: Connection, clock: Clock, worker_ids: Sequence[str]
) -> set[tuple[Lease, datetime]]:
    """Which leases of these workers have expired, and when."""
    found = conn.execute(
        select(jobs.c.id, jobs.c.attempt, jobs.c.lease_expires_at).where(
            jobs.c.state == S.RUNNING,
            jobs.c.lease_expires_at < clock.now(),
            jobs.c.worker_id.in_(worker_ids),
        )
    ).all()
    return {(Lease(row.id, row.attempt), row.lease_expires_at) for row in found}


def state_of(conn: Connection, job_id: JobId) -> JobState:
    """Read one job's state. Raises JobNotFound."""
    state = conn.execute(select(jobs.c.state).where(jobs.c.id == job_id)).scalar()
    if state is None:
        raise JobNotFound(job_id)
    return JobState(state)


def held_by(conn: Connection, worker_id: str, job_ids: Sequence[JobId]) -> list[ClaimedJob]:
    """Read those of these jobs that a worker runs."""
    found = conn.execute(
        select(jobs).where(
            jobs.c.id.in_(job_ids), jobs.c.state == S.RUNNING, jobs.c.worker_id == worker_id
        )
    ).all()
    return _claimed(found)


def cancel_requests(conn: Connection, leases: Sequence[Lease]) -> list[HeldLease]:
    """Which of these attempts are to stop, with the reason given."""
    asked = conn.execute(
        select(jobs.c.id, jobs.c.attempt, jobs.c.cancel_reason, jobs.c.cancel_requested_at).where(
            tuple_(jobs.c.id, jobs.c.attempt).in_([(x.job_id, x.attempt) for x in leases]),
            jobs.c.state == S.RUNNING,
            jobs.c.cancel_requested_at.is_not(None),
        )
    ).all()
    return [
        HeldLease(Lease(row.id, row.attempt), True, row.cancel_reason, row.cancel_requested_at)
        for row in asked
    ]
