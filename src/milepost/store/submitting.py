"""Stores requests, of which some replace others or are what was submitted already."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, case, select, text, update

from milepost.jobs.leases import JobId
from milepost.jobs.requests import JobRequest
from milepost.jobs.states import JobState
from milepost.store import jobs
from milepost.store.batches import rows
from milepost.store.clock import Clock
from milepost.store.encoding import encode_request
from milepost.store.flows import Moved
from milepost.store.jobs import Submitted
from milepost.store.tables import jobs as table

HAS_KEY = "repeat_key IS NOT NULL"
# What a newer request has of its own. Its queue and its kind are those of the one it replaces.
REPLACED = ("args", "priority", "max_attempts", "backoff", "time_limit", "tags", "owner", "lane")


def submit(
    conn: Connection, clock: Clock, requests: Sequence[JobRequest], *, moved: Moved | None = None
) -> list[Submitted]:
    """Store requests, in order; those that are debounced or throttled one by one.

    Raises JobNotFound where one is to wait for a job that is not there.
    """
    plain = [request for request in requests if request.repeat is None]
    stored = iter(jobs.submit(conn, clock, plain, moved=moved))
    return [
        next(stored) if request.repeat is None else _submit_again(conn, clock, request)
        for request in requests
    ]


def _submit_again(conn: Connection, clock: Clock, request: JobRequest) -> Submitted:
    repeat = request.repeat
    assert repeat is not None  # noqa: S101 (the caller has looked)
    dialect, given = conn.dialect.name, encode_request(request)
    before = _holder(conn, given["repeat_key"])
    if repeat.debounced:
        statement = _debounce(dialect, clock)
    else:
        statement = _throttle(dialect, clock)
        if before is not None and repeat.period is not None:
            # What is older than the period lets go of the key; of two who do that at once, one
            # gets it.
            freed = conn.execute(
                update(table)
                .where(
                    table.c.repeat_key == given["repeat_key"],
                    table.c.created_at <= clock.now(-repeat.period),
                )
                .values(repeat_key=None)
            )
            before = None if freed.rowcount else before
    job_id = conn.execute(statement, rows([given])).scalar()
    if job_id is not None:
        if repeat.period is not None:
            until = clock.now(repeat.period)
            conn.execute(update(table).where(table.c.id == job_id).values(repeat_until=until))
        return Submitted(job_id, existed=job_id == before)
    found = _holder(conn, given["repeat_key"])
    # None: what held the key let go of it just now.
    return _submit_again(conn, clock, request) if found is None else Submitted(found, existed=True)


def _holder(conn: Connection, key: str) -> JobId | None:
    found: JobId | None = conn.execute(select(table.c.id).where(table.c.repeat_key == key)).scalar()
    return found


@lru_cache
def _throttle(dialect: str, clock: Clock) -> Any:
    return (
        jobs.insert_batch(dialect, clock)
        .on_conflict_do_nothing(index_elements=[table.c.repeat_key], index_where=text(HAS_KEY))
        .returning(table.c.id)
    )


@lru_cache
def _debounce(dialect: str, clock: Clock) -> Any:
    inserting = jobs.insert_batch(dialect, clock)
    # Whoever begins lets go of the key, so what has it has not begun. What is due already waits no
    # longer, and only gets the newest args.
    is_scheduled = table.c.state == JobState.SCHEDULED
    return inserting.on_conflict_do_update(
        index_elements=[table.c.repeat_key],
        index_where=text(HAS_KEY),
        set_={
            **{name: inserting.excluded[name] for name in REPLACED},
            "run_at": case((is_scheduled, inserting.excluded.run_at), else_=table.c.run_at),
        },
    ).returning(table.c.id)
