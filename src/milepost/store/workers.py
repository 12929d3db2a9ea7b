"""The workers of a store: who they are, when each was last seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic_core import from_json, to_json
from sqlalchemy import Connection, Row, insert, select, update

from milepost.store.clock import Clock
from milepost.store.tables import workers


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRecord:
    """One run of a worker. `id` is drawn anew at every start, and never used again."""

    id: str
    host: str
    host_key: str
    pid: int
    version: str
    queues: tuple[str, ...]
    kinds: tuple[str, ...]
    concurrency: int
    running: int = 0
    started_at: datetime | None = None
    seen_at: datetime | None = None
    stopped_at: datetime | None = None


def register(conn: Connection, clock: Clock, worker: WorkerRecord) -> None:
    """Announce a worker that starts."""
    conn.execute(
        insert(workers).values(
            id=worker.id,
            host=worker.host,
            host_key=worker.host_key,
            pid=worker.pid,
            version=worker.version,
            queues=to_json(worker.queues).decode(),
            kinds=to_json(worker.kinds).decode(),
            concurrency=worker.concurrency,
            started_at=clock.now(),
            seen_at=clock.now(),
        )
    )


def seen(conn: Connection, clock: Clock, worker_id: str, *, running: int) -> None:
    """Note that a worker lives and how many attempts it runs, whatever was thought of it."""
    conn.execute(
        update(workers)
        .where(workers.c.id == worker_id)
        .values(seen_at=clock.now(), running=running, stopped_at=None)
    )


def stopped(conn: Connection, clock: Clock, worker_ids: Sequence[str]) -> None:
    """Note that workers have ended."""
    conn.execute(
        update(workers)
        .where(workers.c.id.in_(worker_ids), workers.c.stopped_at.is_(None))
        .values(stopped_at=clock.now(), running=0)
    )


def unstopped(conn: Connection, *, host_key: str | None = None) -> list[WorkerRecord]:
    """Read the workers that have not said that they ended, the oldest first."""
    query = select(workers).where(workers.c.stopped_at.is_(None))
    if host_key is not None:
        query = query.where(workers.c.host_key == host_key)
    return [_record(row) for row in conn.execute(query.order_by(workers.c.started_at)).all()]


def ended(conn: Connection, worker_ids: Sequence[str]) -> set[str]:
    """Which of these workers are known to have ended."""
    found = conn.execute(
        select(workers.c.id).where(workers.c.id.in_(worker_ids), workers.c.stopped_at.is_not(None))
    )
    return set(found.scalars())


def find(conn: Connection, worker_id: str) -> WorkerRecord | None:
    """Read one worker."""
    row = conn.execute(select(workers).where(workers.c.id == worker_id)).one_or_none()
    return None if row is None else _record(row)


def _record(row: Row[*tuple[object, ...]]) -> WorkerRecord:
    fields = dict(row._mapping)  # noqa: SLF001 (public in SQLAlchemy)
    return WorkerRecord(
        **{
            **fields,
            "queues": tuple(from_json(fields["queues"])),
            "kinds": tuple(from_json(fields["kinds"])),
        }
    )
