"""Progress for people: a count, a total, a message."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

ENOUGH_INTERVALS = 3
ENOUGH_TIME = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Part:
    """The progress of one named part of a job, such as a table."""

    count: int
    total: int | None = None

    def __post_init__(self) -> None:
        """Refuse here, in the handler, what the store could not hold later."""
        _check(self.count, self.total)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is. Without a total there is no percentage, and none is invented."""

    count: int
    total: int | None = None
    message: str | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse here, in the handler, what the store could not hold later."""
        _check(self.count, self.total)
        if self.message is not None and not isinstance(self.message, str):
            raise TypeError(f"progress message must be text, not {self.message!r}")
        if not isinstance(self.parts, Mapping):
            raise TypeError(f"progress parts are a Part for each name, not {self.parts!r}")
        # A copy: its handler may go on filling the one it gave while this is written.
        parts: dict[Any, Any] = dict(self.parts)
        for name, part in parts.items():
            if not isinstance(name, str) or not isinstance(part, Part):
                raise TypeError(f"progress parts take a Part for each name: {name!r}: {part!r}")
        object.__setattr__(self, "parts", parts)

    @property
    def percentage(self) -> float | None:
        """From 0 to 100; None where the total is unknown."""
        if not self.total:
            return None
        return max(0.0, min(100.0, 100 * self.count / self.total))


def _check(count: int, total: int | None) -> None:
    for name, number in (("count", count), ("total", total)):
        if number is None and name == "total":
            continue
        if not isinstance(number, int) or not -(2**63) <= number < 2**63:
            raise TypeError(f"progress {name} must be a whole number (int), not {number!r}")


@dataclass(frozen=True, slots=True)
class ProgressPoint:
    """One line of the progress history: a count at a moment of an attempt."""

    attempt: int
    at: datetime
    count: int
    total: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """How fast a job moves and how long it may still take.

    `rate` is in counts a second. `remaining` is a range from the shorter to the longer time.
    """

    rate: float | None = None
    remaining: tuple[timedelta, timedelta] | None = None


def estimate(points: Sequence[ProgressPoint]) -> Estimate:
    """Estimate from the history of the running attempt; says nothing where it knows nothing.

    The range comes from the rates between neighbouring points: the time left at the pace of the
    fast quarter of them, and at the pace of the slow quarter. A steady job gets a narrow range,
    an uneven one a wide range, a young or standing one none.
    """
    if not points:
        return Estimate()
    newest = points[-1]
    own = [point for point in points if point.attempt == newest.attempt]
    took = newest.at - own[0].at
    rates = sorted(
        (after.count - before.count) / (after.at - before.at).total_seconds()
        for before, after in pairwise(own)
        if after.at > before.at
    )
    if len(rates) < ENOUGH_INTERVALS or took < ENOUGH_TIME:
        return Estimate()
    rate = (newest.count - own[0].count) / took.total_seconds()
    if rate <= 0:
        return Estimate()
    if newest.total is None:
        return Estimate(rate)
    left = max(0, newest.total - newest.count)
    fast = max(rates[len(rates) * 3 // 4], rate)
    slow = rates[len(rates) // 4]
    # A slow quarter that stood still gives no upper end: twice the average is the honest guess.
    slow = min(slow, rate) if slow > 0 else rate / 2
    return Estimate(rate, (timedelta(seconds=left / fast), timedelta(seconds=left / slow)))
