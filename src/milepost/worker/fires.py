"""Fires the schedules that are due. What becomes of a job that waits is up to `scheduler.py`."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection

from milepost.brokers import Broker
from milepost.jobs.definition import scheduled_args
from milepost.jobs.events import (
    Observer,
    ScheduleFired,
    ScheduleMissed,
    ScheduleSkipped,
    TickFailed,
)
from milepost.jobs.registry import Registry
from milepost.jobs.schedules import LATE_AFTER
from milepost.signals import Signal, Signals, Topic
from milepost.store import fires, schedules
from milepost.store.clock import Clock
from milepost.store.database import Database

MOST_AT_ONCE: Final = 50
# Another worker has what is due: look again whether it could finish.
LOOK_AGAIN_AFTER: Final = 0.05
# Clocks are set, and a signal may get lost: at the latest then the store is asked again.
LOOK_EVERY: Final = timedelta(seconds=5)
FORGIVE_AFTER: Final = 60.0
PRUNE_EVERY: Final = 3600.0


def declare_all(conn: Connection, clock: Clock, registry: Registry) -> None:
    """Have the schedules that the definitions declare, each under the name of its kind."""
    for each in sorted(registry, key=lambda definition: definition.kind):
        if each.schedule is not None:
            args = scheduled_args(each.args, each.schedule)
            schedules.declare(conn, clock, each.kind, each.kind, args, each.schedule)


class Fires:
    """Every worker has one, and none leads: the store lets each moment fire once."""

    def __init__(
        self,
        database: Database,
        signals: Signals,
        broker: Broker,
        registry: Registry,
        *,
        wake_in: Callable[[float], None],
        observe: Observer,
    ) -> None:
        self._database = database
        self._signals = signals
        self._broker = broker
        self._registry = registry
        self._wake_in = wake_in
        self._observe = observe
        # Schedules that this worker cannot fire, and when to try again.
        self._broken: dict[str, float] = {}
        self._prune_at = time.monotonic() + PRUNE_EVERY

    async def tick(self) -> None:
        """Fire what is due, then see to it that the next tick comes with the next moment."""
        now = time.monotonic()
        self._broken = {name: until for name, until in self._broken.items() if until > now}
        # Looks first: reading waits for no writer.
        while (due_in := await self._database.query(self._due_in)) is not None:
            if due_in > timedelta(0):
                break
            done = await self._database.run(self._fire)
            if not done:
                due_in = timedelta(seconds=LOOK_AGAIN_AFTER)
                break
            await self._tell(done)
        if due_in is not None and due_in < LOOK_EVERY:
            self._wake_in(due_in.total_seconds())
        if now >= self._prune_at:
            self._prune_at = now + PRUNE_EVERY
            await self._prune()

    def _due_in(self, conn: Connection) -> timedelta | None:
        return fires.due_in(conn, self._database.clock, self._registry, without=self._broken)

    def _fire(self, conn: Connection) -> list[fires.Fired | fires.Broken]:
        done = fires.fire(
            conn, self._database.clock, self._registry, limit=MOST_AT_ONCE, without=self._broken
        )
        for each in done:
            if isinstance(each, fires.Fired) and each.jobs:
                queue = each.view.queue or self._registry[each.view.kind].queue
                self._signals.announce(conn, Signal(Topic.AVAILABLE, queue))
                if each.view.jitter:
                    self._signals.announce(conn, Signal(Topic.SCHEDULED))
        return done

    async def _tell(self, done: list[fires.Fired | fires.Broken]) -> None:
        fired = [each for each in done if isinstance(each, fires.Fired)]
        for each in done:
            if isinstance(each, fires.Broken):
                self._broken[each.name] = time.monotonic() + FORGIVE_AFTER
                self._observe(TickFailed(f"fire {each.name}", each.error))
        for each in fired:
            self._observe_fired(each)
        await self._broker.send(
            [job.job_id for each in fired for _, job in each.jobs if not job.existed]
        )

    def _observe_fired(self, fired: fires.Fired) -> None:
        view, turn = fired.view, fired.turn
        if turn.first_missed_at is not None and turn.last_missed_at is not None:
            late_before = view.present - LATE_AFTER
            caught_up = sum(moment < late_before for moment in turn.fire)
            self._observe(
                ScheduleMissed(
                    view.name, view.kind, view.owner, turn.missed, caught_up,
                    turn.first_missed_at, turn.last_missed_at,
                )
            )  # fmt: skip
        for moment, job in fired.jobs:
            told = ScheduleSkipped if job.existed else ScheduleFired
            self._observe(told(view.name, view.kind, moment, job.job_id))

    async def _prune(self) -> None:
        clock = self._database.clock
        for each in await self._database.query(schedules.names):
            await self._database.run(fires.prune, clock, each)
