"""History on its way out of the store: read a page at a time, then deleted as it was read."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pydantic_core import from_json
from sqlalchemy import ColumnElement, Connection, select

from milepost.jobs.leases import JobId
from milepost.jobs.states import JobState
from milepost.store import pruning, reading
from milepost.store.clock import Clock
from milepost.store.tables import attempts, jobs, log_lines


@dataclass(frozen=True, slots=True)
class Old:
    """Which jobs: those that ended before a moment in one of these states, of a kind or of all."""

    before: datetime
    states: Sequence[JobState]
    kind: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Spell it."""
        found = [jobs.c.state.in_(self.states), jobs.c.finished_at < self.before]
        return found if self.kind is None else [*found, jobs.c.kind == self.kind]


def page(conn: Connection, old: Old, *, after: JobId, limit: int) -> list[Mapping[str, Any]]:
    """Read jobs in the order of their ids, with attempts and log lines; values are as in JSON."""
    found = conn.execute(
        select(jobs.c.id)
        .where(jobs.c.id > after, *old.conditions())
        .order_by(jobs.c.id)
        .limit(limit)
    ).scalars()
    views = reading.find_these(conn, list(found))
    tried = _by_job(conn, attempts, views, attempts.c.attempt)
    said = _by_job(conn, log_lines, views, log_lines.c.id)
    return [
        {
            **asdict(view),
            **{name: _json(getattr(view, name)) for name in ("args", "checkpoint", "result")},
            "time_limit": view.time_limit and view.time_limit.total_seconds(),
            "attempts": tried.get(job_id, []),
            "log": said.get(job_id, []),
        }
        for job_id, view in sorted(views.items())
    ]


def forget(conn: Connection, clock: Clock, old: Old, job_ids: Sequence[JobId]) -> int:
    """Delete those of these jobs that are still old, and that nobody may still want.

    One that was retried meanwhile stays, and so does one whose result others may still read.
    """
    still = conn.execute(
        select(jobs.c.id)
        .where(jobs.c.id.in_(job_ids), *old.conditions())
        .with_for_update(skip_locked=True)
    ).scalars()
    return pruning.forget(conn, clock, list(still))


def _by_job(
    conn: Connection, table: Any, job_ids: Mapping[JobId, Any], order: ColumnElement[Any]
) -> dict[JobId, list[dict[str, Any]]]:
    rows = conn.execute(
        select(table).where(table.c.job_id.in_(list(job_ids))).order_by(table.c.job_id, order)
    ).all()
    by_job: dict[JobId, list[dict[str, Any]]] = {}
    for row in rows:
        fields = dict(row._mapping)  # noqa: SLF001 (public in SQLAlchemy)
        fields.pop("id", None)
        by_job.setdefault(fields.pop("job_id"), []).append(fields)
    return by_job


def _json(text: str | None) -> Any:
    return None if text is None else from_json(text)
