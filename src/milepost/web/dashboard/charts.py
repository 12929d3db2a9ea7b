"""Small charts, as numbers that a template draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from milepost.jobs.progress import ProgressPoint
from milepost.store.overview import Slot
from milepost.store.samples import Depth
from milepost.web.dashboard.spelling import spell_seconds

WIDTH = 600
HEIGHT = 80
FEWEST = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """One slot of time: where its bar is, how high it and its part that failed are, in words."""

    x: float
    width: float
    height: float
    failed: float
    title: str


@dataclass(frozen=True, slots=True)
class Bars:
    """A row of bars; `most` is what the highest stands for."""

    bars: Sequence[Bar]
    most: float


def ended(slots: Sequence[Slot]) -> Bars:
    """Draw how many jobs ended in each slot of time."""
    return _bars([(each.completed, each.failed, _counts(each)) for each in slots])


def waits(slots: Sequence[Slot]) -> Bars:
    """Draw the longest wait of the jobs that ended in each slot, in seconds."""
    said = "{}: waited at most {}"
    return _bars(
        [
            (each.longest_wait, 0, said.format(_when(each.at), spell_seconds(each.longest_wait)))
            for each in slots
        ]
    )


def depths(found: Sequence[Depth]) -> Bars:
    """Draw how many jobs waited."""
    return _bars(
        [(each.available or 0, 0, f"{_when(each.at)}: {_said(each.available)}") for each in found]
    )


def oldest_waits(found: Sequence[Depth]) -> Bars:
    """Draw how long the first in line had waited, in seconds."""
    return _bars(
        [
            (each.oldest_wait or 0, 0, f"{_when(each.at)}: {spell_seconds(each.oldest_wait)}")
            for each in found
        ]
    )


def _when(at: datetime) -> str:
    return f"{at:%d %b %H:%M} UTC"


def _counts(slot: Slot) -> str:
    return (
        f"{_when(slot.at)}: {slot.completed:,} completed, {slot.failed:,} failed, "
        f"{slot.cancelled:,} cancelled"
    )


def _said(available: int | None) -> str:
    return "nobody looked" if available is None else f"{available:,} available"


def _bars(given: Sequence[tuple[float, float, str]]) -> Bars:
    """Draw bars of a height, a part on top of it that failed, and words."""
    most = max((value + failed for value, failed, _ in given), default=0)
    step = WIDTH / max(1, len(given))
    scale = HEIGHT / most if most else 0
    return Bars(
        [
            Bar(
                round(n * step, 1), round(step * 0.8, 1), round(value * scale, 1),
                round(failed * scale, 1), title,
            )
            for n, (value, failed, title) in enumerate(given)
        ],
        most,
    )  # fmt: skip


def course(points: Sequence[ProgressPoint]) -> str:
    """Draw a job's count over time, as the points of a line; nothing where there are too few."""
    if len(points) < FEWEST:
        return ""
    begin, end = points[0].at, points[-1].at
    took = (end - begin).total_seconds()
    most = max(max(point.count, point.total or 0) for point in points)
    if took <= 0 or most <= 0:
        return ""
    return " ".join(
        f"{(point.at - begin).total_seconds() / took * WIDTH:.1f},"
        f"{HEIGHT - point.count / most * HEIGHT:.1f}"
        for point in points
    )
