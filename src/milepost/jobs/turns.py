"""Who is next where limits and turns apply. No I/O: the store brings what it knows."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from milepost.jobs.leases import JobId
from milepost.jobs.limits import HeldLimit, Lane

# What begins close together is remembered as one: so few facts for any rate, and at most a
# hundredth of it unused.
GRAINS: Final = 100


@dataclass(slots=True)
class Starts:
    """When attempts under one rate have begun: moments in seconds, each with how many.

    A moment is the end of the grain that it was in, so that nothing is forgotten too soon.
    """

    at: list[tuple[float, int]] = field(default_factory=list)

    def room(self, limit: HeldLimit, now: float) -> int:
        """How many more may begin now."""
        assert limit.per is not None  # noqa: S101 (asked of rates alone)
        return limit.most - sum(count for at, count in self.at if at + limit.per > now)

    def room_at(self, limit: HeldLimit, now: float) -> float:
        """When the next may begin."""
        assert limit.per is not None  # noqa: S101
        until, excess = now, 1 - self.room(limit, now)
        for at, count in self.at:
            if excess <= 0:
                break
            if at + limit.per > now:
                until, excess = at + limit.per, excess - count
        return until

    def add(self, limit: HeldLimit, at: float, count: int) -> None:
        """Note that so many have begun, and forget what is too long ago to count."""
        assert limit.per is not None  # noqa: S101
        grain = limit.per / GRAINS
        end = math.ceil(at / grain) * grain
        # A clock that was set back must not hold them up until it comes there again.
        kept = [(min(moment, end), n) for moment, n in self.at if moment + limit.per > at]
        if kept and kept[-1][0] == end:
            count += kept.pop()[1]
        self.at = [*kept, (end, count)]


@dataclass(frozen=True, slots=True)
class Waiting:
    """The first jobs of a lane: their priorities and ids, in order; `more` where it may have more.

    `lane` is None where jobs have none.
    """

    name: str
    lane: Lane | None
    jobs: Sequence[tuple[int, JobId]]
    more: bool = False


@dataclass(slots=True)
class Room:
    """What runs under each limit, when the last began, and when each who takes turns had one."""

    now: float
    running: Counter[str]
    starts: dict[str, Starts]
    served: Mapping[str, float]
    begun: Counter[str] = field(default_factory=Counter)

    def left(self, limits: Iterable[HeldLimit]) -> int | float:
        """How many more may begin under all of these limits."""
        return min((self._left(limit) for limit in limits), default=math.inf)

    def _left(self, limit: HeldLimit) -> int:
        begun = self.begun[limit.key]
        if limit.per is None:
            return limit.most - self.running[limit.key] - begun
        starts = self.starts.get(limit.key)
        return (limit.most if starts is None else starts.room(limit, self.now)) - begun

    def opens_at(self, limits: Iterable[HeldLimit]) -> float | None:
        """When time alone makes room; None where something must end first."""
        at = self.now
        for limit in limits:
            if self._left(limit) > 0:
                continue
            if limit.per is None:
                return None
            at = max(at, self.starts.get(limit.key, Starts()).room_at(limit, self.now))
        return at


@dataclass(frozen=True, slots=True)
class Choice:
    """Which jobs of which lanes begin, in order; `cut` where there may be more to choose."""

    jobs: Sequence[tuple[str, JobId]]
    cut: bool


def choose(
    lanes: Sequence[Waiting], room: Room, of_queue: Sequence[HeldLimit], most: int
) -> Choice:
    """Choose up to `most` jobs: the most urgent first, and among those by their ids.

    Lanes that take turns stand together where the oldest of their jobs stands; of them the next is
    whoever had no turn for the longest.
    """
    queues = {each.name: list(reversed(each.jobs)) for each in lanes if each.jobs}
    by_name = {each.name: each for each in lanes}
    served = dict(room.served)
    chosen: list[tuple[str, JobId]] = []
    while queues and room.left(of_queue) > 0:
        urgency = min(line[-1][0] for line in queues.values())
        tied = [name for name, line in queues.items() if line[-1][0] == urgency]
        name = min(tied, key=lambda name: queues[name][-1][1])
        if turn_of(by_name[name]) is not None:
            name = min(
                (each for each in tied if turn_of(by_name[each]) is not None),
                key=lambda each: (served.get(turn_of(by_name[each]) or "", 0.0),
                                  queues[each][-1][1]),
            )  # fmt: skip
        lane = by_name[name].lane
        limits = () if lane is None else lane.limits
        if room.left(limits) <= 0:
            del queues[name]
            continue
        if len(chosen) == most:
            return Choice(chosen, cut=True)
        chosen.append((name, queues[name].pop()[1]))
        room.begun.update({limit.key for limit in (*limits, *of_queue)})
        if (turn := turn_of(by_name[name])) is not None:
            # Later than all before: these turns are taken one after the other.
            served[turn] = room.now + len(chosen)
        if not queues[name]:
            if by_name[name].more and room.left(limits) > 0:
                # What comes next in it may come before all others.
                return Choice(chosen, cut=True)
            del queues[name]
    return Choice(chosen, cut=False)


def turn_of(waiting: Waiting) -> str | None:
    """Who takes turns there."""
    return None if waiting.lane is None else waiting.lane.turn
