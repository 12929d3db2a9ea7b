"""What a schedule is: when, with which args, and what of the moments that nobody was there for."""

import random
from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final, Literal, get_args

from milepost.errors import ScheduleInvalid
from milepost.jobs.names import LONGEST_NAME, LOWEST_PRIORITY, check_queue
from milepost.jobs.rules import Cron, Every, Rule, moments, newest

CatchUp = Literal["skip", "once", "all"]
"""Which of the moments fire that are due together, because no worker was there."""

Overlap = Literal["skip", "allow"]
"""What becomes of a moment while the last job of its schedule has not ended."""

# What fires later than this, or not at all, was missed.
LATE_AFTER: Final = timedelta(minutes=1)
MOST_CAUGHT_UP: Final = 1000
# Past so many, what was missed is not counted any more.
MOST_COUNTED: Final = 1000
LONGEST_JITTER: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a job is submitted, and how; what is not given comes from its definition.

    `args`: the typed args of its jobs; without any, their type's defaults.

    Of the moments that are due together, because no worker was there, `catch_up` lets fire: the
    newest if it is at most a minute old ("skip"), the newest ("once"), or the newest
    `catch_up_limit` ("all"). `jitter` delays each job by up to so long, by chance. With the overlap
    "skip" a moment passes while the last job has not ended.

    Raises ScheduleInvalid.
    """

    rule: Rule
    args: Any = None
    _: KW_ONLY
    queue: str | None = None
    priority: int | None = None
    owner: str | None = None
    catch_up: CatchUp = "once"
    catch_up_limit: int = 100
    jitter: timedelta = timedelta(0)
    overlap: Overlap = "skip"

    def __post_init__(self) -> None:
        if not isinstance(self.rule, Cron | Every):
            raise ScheduleInvalid(f"a schedule takes Cron(…) or Every(…), not {self.rule!r}")
        try:
            if self.queue is not None:
                check_queue(self.queue)
        except ValueError as error:
            raise ScheduleInvalid(str(error)) from None
        if self.owner is not None and not 0 < len(self.owner) <= LONGEST_NAME:
            raise ScheduleInvalid(f"owner must have 1 to {LONGEST_NAME} characters: {self.owner!r}")
        if self.priority is not None and not 0 <= self.priority <= LOWEST_PRIORITY:
            raise ScheduleInvalid(f"priority is 0 to {LOWEST_PRIORITY:,}, not {self.priority}")
        for what, given, known in (
            ("catch_up", self.catch_up, get_args(CatchUp)),
            ("overlap", self.overlap, get_args(Overlap)),
        ):
            if given not in known:
                raise ScheduleInvalid(f"{what} is one of {', '.join(known)}, not {given!r}")
        if not 1 <= self.catch_up_limit <= MOST_CAUGHT_UP:
            raise ScheduleInvalid(
                f"catch_up_limit is 1 to {MOST_CAUGHT_UP:,}, not {self.catch_up_limit}"
            )
        if not timedelta(0) <= self.jitter <= LONGEST_JITTER:
            raise ScheduleInvalid(f"jitter is none to {LONGEST_JITTER}, not {self.jitter}")
        if self.catch_up == "all" and self.overlap == "skip":
            raise ScheduleInvalid(
                "catch_up 'all' needs overlap 'allow': with 'skip' only the first of them would run"
            )

    def delay(self, name: str, moment: datetime) -> timedelta:
        """Say how much later than its moment a job runs: the same for all who ask."""
        chance = random.Random(f"{name} {moment.isoformat()}").random()  # noqa: S311 (no secret)
        return self.jitter * chance


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be done about a schedule that is due.

    `fire`: the moments to fire, in order. `missed` counts those that passed without a fire, or
    fire too late, from `first_missed_at` to `last_missed_at`; past a thousand it stops counting.
    """

    fire: tuple[datetime, ...]
    next_at: datetime
    missed: int = 0
    first_missed_at: datetime | None = None
    last_missed_at: datetime | None = None


def take_turn(
    schedule: Schedule, due_at: datetime, now: datetime, *, fired: Collection[datetime] = ()
) -> Turn:
    """Decide about the moments from `due_at`, which is the first, to `now`.

    `fired`: those that have fired before, whatever the schedule's row says. They never do again.
    """
    rule = schedule.rule
    passed = [due_at, *islice(moments(rule, due_at, now), MOST_COUNTED)]
    if len(passed) <= MOST_COUNTED:
        last = passed[-schedule.catch_up_limit :]
    else:
        last = newest(rule, due_at, now, limit=schedule.catch_up_limit)
    late_before = now - LATE_AFTER
    if schedule.catch_up == "all":
        chosen = last
    elif schedule.catch_up == "once" or last[-1] >= late_before:
        chosen = last[-1:]
    else:
        chosen = []
    fire = [moment for moment in chosen if moment not in fired]
    in_time = {moment for moment in chosen if moment >= late_before} | set(fired)
    missed = [moment for moment in sorted({*passed, *last}) if moment not in in_time]
    return Turn(
        tuple(fire),
        rule.next_after(now),
        missed=min(len(missed), MOST_COUNTED),
        first_missed_at=missed[0] if missed else None,
        last_missed_at=missed[-1] if missed else None,
    )
