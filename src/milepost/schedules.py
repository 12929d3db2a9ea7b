"""Schedules by name, as an application's callers, commands and pages see to them."""

from datetime import UTC, tzinfo
from typing import Any, Final, TypeVar

from pydantic_core import from_json
from sqlalchemy import Connection

from milepost.brokers import Broker
from milepost.errors import PayloadTooLarge, ScheduleInvalid
from milepost.jobs.definition import JobDefinition, scheduled_args
from milepost.jobs.names import LONGEST_NAME
from milepost.jobs.registry import Registry
from milepost.jobs.rules import find_zone
from milepost.jobs.schedules import Schedule
from milepost.signals import Signal, Signals, Topic
from milepost.store import fires, schedules
from milepost.store.database import Database
from milepost.store.jobs import Submitted
from milepost.store.schedules import Fire, ScheduleView

A = TypeVar("A")

# They make the unique keys and tags of their jobs, which have limits of their own.
LONGEST_SCHEDULE_NAME: Final = LONGEST_NAME - len(fires.TAG)


class Schedules:
    """The schedules of a store. Its callers have seen to it that the store is ready."""

    def __init__(
        self,
        database: Database,
        signals: Signals,
        broker: Broker,
        registry: Registry,
        *,
        largest_args: int,
    ) -> None:
        self._database = database
        self._signals = signals
        self._broker = broker
        self._registry = registry
        self._largest_args = largest_args

    async def add(
        self,
        name: str,
        definition: JobDefinition[A, Any, Any],
        schedule: Schedule,
        *,
        replace: bool = False,
    ) -> ScheduleView:
        """Add a schedule of a definition, or put it in the place of the one of that name.

        Raises ScheduleExists, PayloadInvalid, or ScheduleInvalid.
        """
        args = scheduled_args(definition.args, schedule)
        return await self._add(name, definition.kind, args, schedule, replace=replace)

    async def add_json(
        self,
        name: str,
        kind: str,
        args: str | None,
        schedule: Schedule,
        *,
        replace: bool = False,
        of_owner: str | None = None,
    ) -> ScheduleView:
        """Add a schedule of a kind, with args as JSON; see `add`. Raises UnknownKind, too.

        `of_owner`: whose schedule alone may be replaced.
        """
        payload = self._registry[kind].args
        spelled = scheduled_args(payload, schedule) if args is None else payload.parse(args)
        return await self._add(name, kind, spelled, schedule, replace=replace, of_owner=of_owner)

    async def listed(self, *, owner: str | None = None) -> list[ScheduleView]:
        """Read all schedules, or those of an owner, by name."""
        return await self._database.query(schedules.listed, self._database.clock, owner=owner)

    async def find(self, name: str) -> ScheduleView:
        """Read one schedule. Raises ScheduleNotFound."""
        return await self._database.query(schedules.find, self._database.clock, name)

    async def fires_of(self, name: str, *, limit: int = 10) -> list[Fire]:
        """Read the moments that a schedule has seen to, the newest first."""
        return await self._database.query(schedules.fires_of, name, limit=limit)

    async def pause(self, name: str) -> None:
        """Let it fire no more; what it has submitted runs. Raises ScheduleNotFound."""
        await self._database.run(schedules.pause, self._database.clock, name)

    async def resume(self, name: str) -> None:
        """Let it fire again from the next moment on. Raises ScheduleNotFound."""
        await self._change(schedules.resume, self._database.clock, name)

    async def remove(self, name: str) -> None:
        """Forget a schedule; its jobs stay. One that code declares comes back with it.

        Raises ScheduleNotFound.
        """
        await self._database.run(schedules.remove, name)

    async def run_now(self, name: str) -> Submitted:
        """Submit a job as the schedule would, also while it is paused; its fires stay as they are.

        Where it skips moments while its last job has not ended, that job is the answer. Raises
        ScheduleNotFound, or UnknownKind where this program has no such definition.
        """

        def submit(conn: Connection) -> Submitted:
            found = schedules.find(conn, self._database.clock, name)
            definition = self._registry[found.kind]
            made = fires.submit_now(conn, self._database.clock, definition, found)
            queue = found.queue or definition.queue
            self._signals.announce(conn, Signal(Topic.AVAILABLE, queue))
            return made

        submitted = await self._database.run(submit)
        if not submitted.existed:
            await self._broker.send([submitted.job_id])
        return submitted

    async def _add(
        self,
        name: str,
        kind: str,
        args: str,
        schedule: Schedule,
        *,
        replace: bool,
        of_owner: str | None = None,
    ) -> ScheduleView:
        self._check(name, kind, args)
        await self._change(
            schedules.add, self._database.clock, name, kind, args, schedule,
            replace=replace, of_owner=of_owner,
        )  # fmt: skip
        return await self.find(name)

    def _check(self, name: str, kind: str, args: str) -> None:
        # A name is a part of addresses.
        fits = name.isprintable() and "/" not in name and name.strip(".") != ""
        if not fits or len(name) > LONGEST_SCHEDULE_NAME:
            raise ScheduleInvalid(
                f"a schedule's name has 1 to {LONGEST_SCHEDULE_NAME} printable characters, none "
                f"of them '/', not {name[:300]!r}"
            )
        if (size := len(args.encode())) > self._largest_args:
            raise PayloadTooLarge(self._registry[kind].args.what, size, self._largest_args)

    async def _change(self, work: Any, *args: Any, **kwargs: Any) -> None:
        """Change something that may fire sooner than the workers look."""

        def changed(conn: Connection) -> None:
            work(conn, *args, **kwargs)
            self._signals.announce(conn, Signal(Topic.SCHEDULED))

        await self._database.run(changed)


def describe(view: ScheduleView, *, count: int = 1) -> dict[str, Any]:
    """Spell a schedule for programs, with its next fires in UTC and in its own time zone.

    `problem`: why this machine does not know when it fires; then only the first is known.
    """
    problem: str | None = None
    zone: tzinfo = UTC
    try:
        upcoming = view.upcoming(count)
        zone = find_zone(view.timezone)
    except ScheduleInvalid as error:
        upcoming, problem = [view.next_fire_at], str(error)
    return {
        "name": view.name,
        "kind": view.kind,
        "args": from_json(view.args),
        "cron": view.cron,
        "every": None if view.every is None else view.every.total_seconds(),
        "timezone": view.timezone,
        "queue": view.queue,
        "priority": view.priority,
        "owner": view.owner,
        "catch_up": view.catch_up,
        "catch_up_limit": view.catch_up_limit,
        "jitter": view.jitter.total_seconds(),
        "overlap": view.overlap,
        "declared": view.declared,
        "paused_at": view.paused_at,
        "next": [{"at": at, "local": at.astimezone(zone).isoformat()} for at in upcoming],
        "last_fire_at": view.last_fire_at,
        "last_job_id": view.last_job_id,
        "last_state": view.last_state,
        "missed": view.missed,
        "missed_at": view.missed_at,
        "overdue": view.overdue,
        "problem": problem,
    }
