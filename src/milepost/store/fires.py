"""Schedules that are due become jobs, each moment once, whoever asks and however often.

One transaction reads a schedule that is due, stores its jobs and their moments, and moves
`next_fire_at` on, by a compare with what was read. So a death at any point neither loses a moment
nor fires it twice. Should the row come back as it was, from a backup or by hand, the key of
`schedule_fires` still lets each moment fire once.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, delete, func, insert, null, select, update

from milepost.errors import MilepostError
from milepost.jobs.registry import AnyDefinition, Registry
from milepost.jobs.requests import JobRequest
from milepost.jobs.schedules import MOST_CAUGHT_UP, Turn, take_turn
from milepost.store import jobs, notices
from milepost.store.clock import Clock
from milepost.store.notices import About
from milepost.store.schedules import ScheduleView, view
from milepost.store.tables import schedule_fires, schedules

TAG: Final = "schedule:"
# Whatever moment a row may be set back to, those that could fire again are among these.
KEEP_FIRES: Final = MOST_CAUGHT_UP + 1
KEEP_FIRES_FOR: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Fired:
    """What became of a schedule that was due; `jobs` in the order of their moments."""

    view: ScheduleView
    turn: Turn
    jobs: tuple[tuple[datetime, jobs.Submitted], ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """A schedule that is due and cannot fire, and why."""

    name: str
    error: MilepostError


def due_in(
    conn: Connection, clock: Clock, registry: Registry, *, without: Collection[str] = ()
) -> timedelta | None:
    """How long until the next schedule of a known kind fires; None: there is none."""
    found = conn.execute(
        select(func.min(schedules.c.next_fire_at).label("at"), clock.now().label("present")).where(
            _may_fire(registry, without)
        )
    ).one()
    return None if found.at is None else found.at - found.present


def fire(
    conn: Connection,
    clock: Clock,
    registry: Registry,
    *,
    limit: int,
    without: Collection[str] = (),
) -> list[Fired | Broken]:
    """Fire the schedules that are due, those first that have waited longest."""
    due = conn.execute(_due(clock).where(_may_fire(registry, without)).limit(limit)).all()
    fired: list[Fired | Broken] = []
    for row in due:
        found = view(row)
        try:
            turn = _turn(conn, found)
            requests = [request_of(registry[found.kind], found, at) for at in turn.fire]
        except MilepostError as error:
            # A row that nobody has checked, or a time zone that this machine does not know. Other
            # schedules must not wait for it.
            fired.append(Broken(found.name, error))
        else:
            fired.append(_fire(conn, clock, found, turn, requests))
    return fired


def _may_fire(registry: Registry, without: Collection[str]) -> Any:
    kinds = [definition.kind for definition in registry]
    return and_(
        schedules.c.paused_at.is_(None),
        schedules.c.kind.in_(kinds),
        schedules.c.name.not_in(without),
    )


def _due(clock: Clock) -> Select[Any]:
    # Those that another worker is about to fire are skipped. SQLite drops FOR UPDATE, and needs
    # none: its writers run one at a time.
    return (
        select(schedules, null().label("last_state"), clock.now().label("present"))
        .where(schedules.c.next_fire_at <= clock.now())
        .order_by(schedules.c.next_fire_at)
        .with_for_update(skip_locked=True)
    )


def _turn(conn: Connection, found: ScheduleView) -> Turn:
    before = _fired_since(conn, found)
    return take_turn(found.schedule, found.next_fire_at, found.present, fired=before)


def _fire(
    conn: Connection,
    clock: Clock,
    found: ScheduleView,
    turn: Turn,
    requests: Sequence[JobRequest],
) -> Fired:
    moved = conn.execute(
        update(schedules)
        .where(schedules.c.name == found.name, schedules.c.next_fire_at == found.next_fire_at)
        .values(
            next_fire_at=turn.next_at,
            missed=schedules.c.missed + turn.missed,
            missed_at=turn.last_missed_at or schedules.c.missed_at,
        )
    )
    if moved.rowcount == 0:
        return Fired(found, Turn((), found.next_fire_at), ())
    if turn.missed:
        notices.of_subject(
            conn, clock, About.SCHEDULE_MISSED, found.name,
            f"{turn.missed} of its moments passed without a worker, the last at "
            f"{turn.last_missed_at:%Y-%m-%d %H:%M:%S} UTC",
            kind=found.kind, queue=found.schedule.queue, owner=found.schedule.owner,
        )  # fmt: skip
    submitted = jobs.submit(conn, clock, requests)
    fired = tuple(zip(turn.fire, submitted, strict=True))
    if fired:
        _note(conn, clock, found.name, fired)
    return Fired(found, turn, fired)


def _fired_since(conn: Connection, found: ScheduleView) -> frozenset[datetime]:
    """Which moments have fired though the row says that they are still to come."""
    return frozenset(
        conn.execute(
            select(schedule_fires.c.moment)
            .where(
                schedule_fires.c.schedule == found.name,
                schedule_fires.c.moment >= found.next_fire_at,
            )
            .order_by(schedule_fires.c.moment.desc())
            .limit(KEEP_FIRES)
        ).scalars()
    )


def submit_now(
    conn: Connection, clock: Clock, definition: AnyDefinition, found: ScheduleView
) -> jobs.Submitted:
    """Submit a job as a schedule would, for the present moment and at once."""
    made = replace(request_of(definition, found, found.present), delay=None)
    [submitted] = jobs.submit(conn, clock, [made])
    return submitted


def request_of(definition: AnyDefinition, found: ScheduleView, moment: datetime) -> JobRequest:
    """Make the request for one moment; it waits for its jitter, counted from the moment.

    Raises ScheduleInvalid or PayloadInvalid, where somebody has written into the row.
    """
    schedule = found.schedule
    wait = moment + schedule.delay(found.name, moment) - found.present
    return JobRequest(
        kind=definition.kind,
        args=found.args,
        queue=schedule.queue or definition.queue,
        priority=definition.priority if schedule.priority is None else schedule.priority,
        max_attempts=definition.max_attempts,
        time_limit=definition.time_limit,
        delay=max(wait, timedelta(0)),
        unique_key=f"{TAG}{found.name}" if schedule.overlap == "skip" else None,
        tags=(f"{TAG}{found.name}",),
        owner=schedule.owner,
        lane=definition.lane(found.args, schedule.owner),
        scheduled_for=moment,
    )


def _note(
    conn: Connection,
    clock: Clock,
    name: str,
    fired: Sequence[tuple[datetime, jobs.Submitted]],
) -> None:
    conn.execute(
        insert(schedule_fires).values(
            [
                {
                    "schedule": name,
                    "moment": moment,
                    "job_id": job.job_id,
                    "skipped": job.existed,
                    "fired_at": clock.now(),
                }
                for moment, job in fired
            ]
        )
    )
    new = [(moment, job) for moment, job in fired if not job.existed]
    if new:
        moment, job = new[-1]
        conn.execute(
            update(schedules)
            .where(schedules.c.name == name)
            .values(last_fire_at=moment, last_job_id=job.job_id)
        )


def prune(conn: Connection, clock: Clock, name: str) -> None:
    """Forget fires of a schedule that are older than two days, but keep its newest thousand."""
    oldest_kept = (
        select(schedule_fires.c.moment)
        .where(schedule_fires.c.schedule == name)
        .order_by(schedule_fires.c.moment.desc())
        .offset(KEEP_FIRES - 1)
        .limit(1)
        .scalar_subquery()
    )
    conn.execute(
        delete(schedule_fires).where(
            schedule_fires.c.schedule == name,
            schedule_fires.c.moment < oldest_kept,
            schedule_fires.c.moment < clock.now(-KEEP_FIRES_FOR),
        )
    )
