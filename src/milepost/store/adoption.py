"""Jobs that another program put into the broker get their row here."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Integer, Text, select, text, tuple_
from sqlalchemy.sql.dml import Insert

from milepost.jobs.backoff import Backoff
from milepost.jobs.leases import JobId
from milepost.jobs.limits import PLAIN
from milepost.jobs.states import JobState
from milepost.store.batches import batch, rows
from milepost.store.clock import Clock
from milepost.store.encoding import encode_backoff, storable
from milepost.store.tables import jobs
from milepost.store.upserts import insert_into

_ADOPTED = {
    "kind": Text,
    "queue": Text,
    "broker_id": Text,
    "priority": Integer,
    "args": Text,
    "max_attempts": Integer,
    "backoff": Text,
    "trace": Text,
    "lane": Text,
}


@dataclass(frozen=True, slots=True)
class Foundling:
    """A job in the broker that no row knows. `args` is JSON, not checked yet."""

    queue: str
    broker_id: str
    kind: str
    args: str
    priority: int
    max_attempts: int
    backoff: Backoff | None
    trace: str | None = None
    lane: str = PLAIN


def adopt(
    conn: Connection, clock: Clock, foundlings: Sequence[Foundling]
) -> dict[tuple[str, str], JobId]:
    """Store foundlings as available, each once; returns the jobs by queue and id in the broker.

    One that was adopted before, and whose broker has not heard of it, keeps its row.
    """
    if not foundlings:
        return {}
    given = rows(
        [
            {
                "kind": storable(each.kind),
                "queue": each.queue,
                "broker_id": storable(each.broker_id),
                "priority": each.priority,
                "args": each.args,
                "max_attempts": each.max_attempts,
                "backoff": encode_backoff(each.backoff),
                "trace": each.trace and storable(each.trace),
                "lane": each.lane,
            }
            for each in foundlings
        ]
    )
    conn.execute(_adopt(conn.dialect.name, clock), given)
    return known(conn, [(each.queue, each.broker_id) for each in foundlings])


def known(conn: Connection, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], JobId]:
    """Find the jobs with these queues and ids in the broker."""
    found = conn.execute(
        select(jobs.c.queue, jobs.c.broker_id, jobs.c.id).where(
            jobs.c.broker_id.is_not(None),
            tuple_(jobs.c.queue, jobs.c.broker_id).in_(places),
        )
    ).all()
    return {(row.queue, row.broker_id): row.id for row in found}


@lru_cache
def _adopt(dialect: str, clock: Clock) -> Insert:
    given = batch(dialect, _ADOPTED)
    values = select(
        *(given.c[name] for name in _ADOPTED), _literal(JobState.AVAILABLE),
        clock.now(), clock.now(),
    ).where(text("1 = 1"))  # fmt: skip
    statement: Insert = (
        insert_into(dialect, jobs)
        .from_select([*_ADOPTED, "state", "created_at", "run_at"], values)
        .on_conflict_do_nothing(
            index_elements=[jobs.c.queue, jobs.c.broker_id],
            index_where=text("broker_id IS NOT NULL"),
        )
    )
    return statement


def _literal(state: JobState) -> Any:
    return text(f"'{state}'")
