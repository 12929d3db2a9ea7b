"""What several moves spell alike."""

from sqlalchemy import ColumnElement, Connection, and_, case, select, update

from milepost.errors import JobEnded, JobNotFound
from milepost.jobs.leases import JobId
from milepost.jobs.repeats import DEBOUNCED
from milepost.jobs.states import JobState
from milepost.store.tables import KEPT, STOP, jobs

S = JobState


def is_just(state: JobState) -> ColumnElement[bool]:
    """The state of a job that is found by its id.

    Spelled so that no partial index fits: a planner without fresh statistics would read the whole
    index of what waits, and all that died in it, instead of the few rows that are named.
    """
    return jobs.c.state.concat("") == state


def kept_repeat_key() -> ColumnElement[str | None]:
    """What a job keeps of its key when it can be debounced no more."""
    return case((jobs.c.repeat_key.startswith(DEBOUNCED), None), else_=jobs.c.repeat_key)


def children_when(cancelled: ColumnElement[bool]) -> ColumnElement[str | None]:
    """What is to become of a job's children: they are cancelled with it."""
    # Asked in this order: nearly none has any.
    return case(
        (jobs.c.children.is_(None), None),
        (and_(jobs.c.children == KEPT, cancelled), STOP),
        else_=jobs.c.children,
    )


def state_of(conn: Connection, job_id: JobId) -> JobState:
    """Read one job's state. Raises JobNotFound."""
    state = conn.execute(select(jobs.c.state).where(jobs.c.id == job_id)).scalar()
    if state is None:
        raise JobNotFound(job_id)
    return JobState(state)


def reprioritise(conn: Connection, job_id: JobId, priority: int) -> None:
    """Give a job that has not ended another priority. Raises JobNotFound or JobEnded."""
    moved = conn.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state.in_((S.SCHEDULED, S.AVAILABLE, S.RUNNING)))
        .values(priority=priority)
    )
    if moved.rowcount == 0:
        raise JobEnded(job_id, state_of(conn, job_id))
