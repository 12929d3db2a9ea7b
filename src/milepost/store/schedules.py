"""Schedules as they stand: added, changed, paused, read. What fires them is `fires.py`."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic_core import to_json
from sqlalchemy import Connection, Row, Select, delete, select, update

from milepost.errors import ScheduleExists, ScheduleNotFound
from milepost.jobs.leases import JobId
from milepost.jobs.rules import Cron, Every, Rule
from milepost.jobs.schedules import LATE_AFTER, CatchUp, Overlap, Schedule
from milepost.jobs.states import JobState
from milepost.store import reading
from milepost.store.clock import Clock
from milepost.store.encoding import storable
from milepost.store.tables import jobs, schedule_fires, schedules
from milepost.store.upserts import insert_into


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleView:
    """One schedule as it stands. `args` is JSON.

    `declared`: by code, and not by hand. `last_state`: the last job's, None where it was pruned.
    `missed` counts the moments that did not fire in time; `missed_at` is the last of them.
    `present`: what time the store said it was.
    """

    name: str
    kind: str
    args: str
    queue: str | None
    priority: int | None
    owner: str | None
    cron: str | None
    every: timedelta | None
    timezone: str
    catch_up: CatchUp
    catch_up_limit: int
    jitter: timedelta
    overlap: Overlap
    declared: bool
    paused_at: datetime | None
    next_fire_at: datetime
    last_fire_at: datetime | None
    last_job_id: JobId | None
    last_state: JobState | None
    missed: int
    missed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    present: datetime

    @property
    def rule(self) -> Rule:
        """When it fires. Raises ScheduleInvalid: this machine may not know its time zone."""
        if self.cron is not None:
            return Cron(self.cron, self.timezone)
        return Every(seconds=self.every.total_seconds() if self.every else 0)

    @property
    def schedule(self) -> Schedule:
        """The schedule, its args apart. Raises ScheduleInvalid; see `rule`."""
        return Schedule(
            self.rule, queue=self.queue, priority=self.priority, owner=self.owner,
            catch_up=self.catch_up, catch_up_limit=self.catch_up_limit, jitter=self.jitter,
            overlap=self.overlap,
        )  # fmt: skip

    def upcoming(self, count: int) -> list[datetime]:
        """Say when it fires next, so many times; the first may be past. Raises ScheduleInvalid."""
        found = [self.next_fire_at]
        # Calendars end.
        with contextlib.suppress(OverflowError):
            while len(found) < count:
                found.append(self.rule.next_after(found[-1]))
        return found

    @property
    def overdue(self) -> bool:
        """Whether it should have fired more than a minute ago, and still nobody does it."""
        return self.paused_at is None and self.next_fire_at < self.present - LATE_AFTER


@dataclass(frozen=True, slots=True)
class Fire:
    """A moment that has become a job; or was skipped, for an earlier job that had not ended."""

    moment: datetime
    job_id: JobId
    skipped: bool
    fired_at: datetime


def declare(
    conn: Connection, clock: Clock, name: str, kind: str, args: str, schedule: Schedule
) -> None:
    """Have the schedule that code declares: add it, or change what the code has changed.

    What the code says as before changes nothing, so that its fires go on as they were. Nor is
    changed what was added by hand.
    """
    described = _describe(kind, args, schedule)
    declared = to_json(described, fallback=str).decode()
    if _add(conn, clock, name, {**described, "declared": declared}, schedule):
        return
    row = _read(conn, name)
    # None: it was removed just now, and comes back with the next start.
    if row is not None and row.declared is not None and row.declared != declared:
        _change(conn, clock, row, {**described, "declared": declared}, schedule)


def add(
    conn: Connection,
    clock: Clock,
    name: str,
    kind: str,
    args: str,
    schedule: Schedule,
    *,
    replace: bool = False,
    of_owner: str | None = None,
) -> None:
    """Add a schedule, or put it in the place of the one there is. Raises ScheduleExists.

    `of_owner`: whose schedule alone may be replaced.
    """
    described = {**_describe(kind, args, schedule), "declared": None}
    if _add(conn, clock, name, described, schedule):
        return
    row = _locked(conn, name)
    if not replace or (of_owner is not None and row.owner != of_owner):
        raise ScheduleExists(name)
    _change(conn, clock, row, described, schedule)


def pause(conn: Connection, clock: Clock, name: str) -> None:
    """Let it fire no more. One that is paused stays so. Raises ScheduleNotFound."""
    row = _locked(conn, name)
    if row.paused_at is None:
        conn.execute(_this(name).values(paused_at=clock.now(), updated_at=clock.now()))


def resume(conn: Connection, clock: Clock, name: str) -> None:
    """Let it fire again, from the next moment on: those that passed in its pause stay past.

    Raises ScheduleNotFound.
    """
    _locked(conn, name)
    found = find(conn, clock, name)
    if found.paused_at is not None:
        next_at = found.rule.next_after(found.present)
        conn.execute(
            _this(name).values(paused_at=None, next_fire_at=next_at, updated_at=clock.now())
        )


def remove(conn: Connection, name: str) -> None:
    """Forget a schedule and what it has fired; its jobs stay. Raises ScheduleNotFound."""
    _locked(conn, name)
    conn.execute(delete(schedules).where(schedules.c.name == name))
    conn.execute(delete(schedule_fires).where(schedule_fires.c.schedule == name))


def find(conn: Connection, clock: Clock, name: str) -> ScheduleView:
    """Read one schedule. Raises ScheduleNotFound."""
    row = conn.execute(_views(clock).where(schedules.c.name == name)).one_or_none()
    if row is None:
        raise ScheduleNotFound(name)
    return view(row)


def listed(conn: Connection, clock: Clock, *, owner: str | None = None) -> list[ScheduleView]:
    """Read all schedules, or those of an owner, by name."""
    query = _views(clock).order_by(schedules.c.name)
    if owner is not None:
        query = query.where(schedules.c.owner == owner)
    return [view(row) for row in conn.execute(query).all()]


def names(conn: Connection) -> list[str]:
    """Read the names of all schedules."""
    return list(conn.execute(select(schedules.c.name).order_by(schedules.c.name)).scalars())


def fires_of(conn: Connection, name: str, *, limit: int = 10) -> list[Fire]:
    """Read the moments that a schedule has seen to, the newest first."""
    found = conn.execute(
        select(schedule_fires)
        .where(schedule_fires.c.schedule == name)
        .order_by(schedule_fires.c.moment.desc())
        .limit(limit)
    ).all()
    return [Fire(row.moment, row.job_id, row.skipped, row.fired_at) for row in found]


def _views(clock: Clock) -> Select[Any]:
    return select(
        schedules, jobs.c.state.label("last_state"), clock.now().label("present")
    ).outerjoin_from(schedules, jobs, jobs.c.id == schedules.c.last_job_id)


def view(row: Row[Any]) -> ScheduleView:
    """Make a view of a row that has `present` and `last_state`."""
    fields = dict(row._mapping)  # noqa: SLF001 (public in SQLAlchemy)
    return ScheduleView(
        **{
            **fields,
            "every": None if row.every is None else timedelta(seconds=row.every),
            "jitter": timedelta(seconds=row.jitter),
            "declared": row.declared is not None,
            "last_state": None if row.last_state is None else JobState(row.last_state),
        }
    )


def _describe(kind: str, args: str, schedule: Schedule) -> dict[str, Any]:
    rule = schedule.rule
    return {
        "kind": kind,
        "args": args,
        "queue": schedule.queue,
        "priority": schedule.priority,
        "owner": schedule.owner and storable(schedule.owner),
        "cron": rule.expression if isinstance(rule, Cron) else None,
        "every": rule.interval.total_seconds() if isinstance(rule, Every) else None,
        "timezone": rule.timezone,
        "catch_up": schedule.catch_up,
        "catch_up_limit": schedule.catch_up_limit,
        "jitter": schedule.jitter.total_seconds(),
        "overlap": schedule.overlap,
    }


def _add(
    conn: Connection, clock: Clock, name: str, described: Mapping[str, Any], schedule: Schedule
) -> bool:
    """Add a row unless there is one; it fires from the next moment on."""
    added = conn.execute(
        insert_into(conn.dialect.name, schedules)
        .values(
            name=name,
            **described,
            next_fire_at=schedule.rule.next_after(reading.present(conn, clock)),
            created_at=clock.now(),
            updated_at=clock.now(),
        )
        .on_conflict_do_nothing(index_elements=[schedules.c.name])
        .returning(schedules.c.name)
    ).one_or_none()
    return added is not None


def _change(
    conn: Connection,
    clock: Clock,
    row: Row[Any],
    described: Mapping[str, Any],
    schedule: Schedule,
) -> None:
    """Change a row. A fire that is due stays due: the change must not swallow it."""
    present = reading.present(conn, clock)
    values: dict[str, Any] = {**described, "updated_at": clock.now()}
    same_rule = (row.cron, row.every, row.timezone) == (
        described["cron"], described["every"], described["timezone"],
    )  # fmt: skip
    if row.next_fire_at > present and not same_rule:
        values["next_fire_at"] = schedule.rule.next_after(present)
    conn.execute(_this(row.name).values(values))


def _this(name: str) -> Any:
    return update(schedules).where(schedules.c.name == name)


def _locked(conn: Connection, name: str) -> Row[Any]:
    """Read a row that nobody changes or fires before we are done. Raises ScheduleNotFound."""
    row = _read(conn, name)
    if row is None:
        raise ScheduleNotFound(name)
    return row


def _read(conn: Connection, name: str) -> Row[Any] | None:
    return conn.execute(
        select(schedules).where(schedules.c.name == name).with_for_update()
    ).one_or_none()
