"""New jobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, literal, select, text
from sqlalchemy.sql.dml import ReturningInsert

from milepost.jobs.flows import FOR_OTHERS
from milepost.jobs.leases import JobId
from milepost.jobs.requests import JobRequest
from milepost.jobs.states import JobState
from milepost.store import flows
from milepost.store.batches import batch, rows
from milepost.store.clock import Clock
from milepost.store.encoding import RARE, SUBMITTED, due, encode_request, moment_of
from milepost.store.flows import Moved
from milepost.store.moments import Moment
from milepost.store.tables import KEPT, UNFINISHED_WITH_KEY, jobs
from milepost.store.upserts import insert_into

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
    absent = frozenset(name for name in RARE if not any(each[name] for each in encoded))
    statement = _submit(conn.dialect.name, clock, absent, flow=flow)
    stored = conn.execute(statement, rows(encoded)).all()
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
def _submit(
    dialect: str, clock: Clock, absent: frozenset[str], *, flow: bool
) -> ReturningInsert[Any]:
    statement: ReturningInsert[Any] = (
        insert_batch(dialect, clock, absent, flow=flow)
        .on_conflict_do_nothing(
            index_elements=[jobs.c.unique_key], index_where=text(UNFINISHED_WITH_KEY)
        )
        .returning(jobs.c.id, jobs.c.unique_key)
    )
    return statement


def insert_batch(
    dialect: str, clock: Clock, absent: frozenset[str] = frozenset(), *, flow: bool = False
) -> Any:
    """Spell the insert of the requests in the parameter `batch`, as rows of SUBMITTED.

    `absent` are columns of RARE that none of them has. `flow` where some of them wait for others,
    or are waited for.
    """
    columns_given = {name: kind for name, kind in SUBMITTED.items() if name not in absent}
    given = batch(dialect, columns_given)
    starts = due(dialect, clock, given)
    later = case((given.c.run_at.is_not(None), starts > clock.now()), else_=given.c.delay > 0)
    state: ColumnElement[Any] = case((later, S.SCHEDULED), else_=S.AVAILABLE)
    computed = ("delay", "run_at", "scheduled_for", "waits", "awaited")
    copied = [name for name in columns_given if name not in computed]
    columns = [*copied, "state", "run_at", "created_at"]
    more: list[ColumnElement[Any]] = []
    if "scheduled_for" not in absent:
        columns.append("scheduled_for")
        more.append(moment_of(dialect, given.c.scheduled_for))
    if flow:
        waits = given.c.waits == 1
        state = case((waits, S.SCHEDULED), else_=state)
        starts = case((waits, literal(FOR_OTHERS, Moment())), else_=starts)
        columns += ["awaited", "children"]
        more += [given.c.awaited == 1, case((waits, KEPT), else_=None)]
    values = select(
        *(given.c[name] for name in copied),
        state,
        starts,
        clock.now(),
        *more,
        # Without a WHERE, SQLite reads the conflict clause as a join's ON.
    ).where(text("1 = 1"))
    return insert_into(dialect, jobs).from_select(columns, values)


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
