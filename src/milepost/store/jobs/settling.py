"""How attempts end."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, case, func, literal, update
from sqlalchemy.sql.dml import ReturningUpdate

from milepost.jobs.flows import FOR_OTHERS
from milepost.jobs.leases import JobId, Lease, Settlement
from milepost.jobs.outcomes import OnFailure, Waiting
from milepost.jobs.states import FINAL, JobState
from milepost.store import attempts, flows, notices
from milepost.store.batches import held, rows
from milepost.store.clock import Clock
from milepost.store.encoding import SETTLED, encode_settlement
from milepost.store.flows import Moved
from milepost.store.jobs.rows import children_when
from milepost.store.moments import Moment
from milepost.store.tables import STOP, jobs

S = JobState
_STATES: Final = {str(state): state for state in JobState}


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
    waiting = {s.job.lease.job_id: s.outcome.on_failure
               for s in settlements if isinstance(s.outcome, Waiting)}  # fmt: skip
    states: dict[Lease, JobState] = {}
    failed, recovered, of_family = [], [], []
    # Once over them: thousands come by each second, and nearly all have completed at once.
    for row in settled:
        job_id, attempt, state, awaited, children = row
        states[Lease(job_id, attempt)] = _STATES[state]
        if state == S.FAILED:
            failed.append(job_id)
        # At its first attempt nothing can recover, but what has failed because of its children.
        elif state == S.COMPLETED and (attempt > 1 or children is not None):
            recovered.append(job_id)
        if awaited or children is not None or job_id in waiting:
            of_family.append(row)
    if of_family:
        moved = Moved() if moved is None else moved
        # Before the history is written: what began to wait may have moved on already.
        states |= _tell_family(conn, clock, waiting, of_family, moved)
    attempts.record(
        conn, clock, [{**encoded[lease], "state": state} for lease, state in states.items()]
    )
    # Who failed because of others is told of where that is done.
    notices.of_failed(conn, clock, failed)
    notices.of_completed(conn, clock, recovered)
    if len(states) < len(encoded):
        # The answer to a COMMIT may have been lost; then this is the second time of asking.
        lost = [lease for lease in encoded if lease not in states]
        states |= attempts.settled_before(conn, lost)
    return states


def _tell_family(
    conn: Connection,
    clock: Clock,
    waiting: Mapping[JobId, OnFailure],
    settled: Sequence[Row[Any]],
    moved: Moved,
) -> dict[Lease, JobState]:
    """Tell parents of their children's end; returns what has moved on among those just settled."""
    moved.stopping = moved.stopping or any(row.children == STOP for row in settled)
    ended = {row.id: JobState(row.state) for row in settled if row.awaited and row.state in FINAL}
    begun = {row.id: waiting[row.id] for row in settled
             if row.id in waiting and row.state == S.SCHEDULED}  # fmt: skip
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
            children=children_when(state == S.CANCELLED),
        )
        .returning(jobs.c.id, jobs.c.attempt, jobs.c.state, jobs.c.awaited, jobs.c.children)
    )
