"""Small charts, as numbers that a template draws."""

from collections.abc import Sequence
from dataclasses import dataclass

from milepost.jobs.progress import ProgressPoint
from milepost.store.overview import Slot

WIDTH = 600
HEIGHT = 80
FEWEST = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """One slot of time: where its bar is, how high its parts are, and what it says."""

    x: float
    width: float
    completed: float
    failed: float
    title: str


@dataclass(frozen=True, slots=True)
class Bars:
    """A row of bars; `most` is what the highest stands for."""

    bars: Sequence[Bar]
    most: float


def bars(slots: Sequence[Slot]) -> Bars:
    """Draw how many jobs ended in each slot of time."""
    most = max((slot.completed + slot.failed for slot in slots), default=0)
    step = WIDTH / max(1, len(slots))
    scale = HEIGHT / max(1, most)
    return Bars(
        [
            Bar(
                round(n * step, 1), round(step * 0.8, 1), round(slot.completed * scale, 1),
                round(slot.failed * scale, 1),
                f"{slot.at:%H:%M}: {slot.completed} completed, {slot.failed} failed, "
                f"{slot.cancelled} cancelled",
            )
            for n, slot in enumerate(slots)
        ],
        most,
    )  # fmt: skip


def waits(slots: Sequence[Slot]) -> Bars:
    """Draw the longest wait of the jobs that ended in each slot; `most` is in seconds."""
    most = max((slot.longest_wait for slot in slots), default=0)
    step = WIDTH / max(1, len(slots))
    scale = HEIGHT / most if most else 0
    return Bars(
        [
            Bar(
                round(n * step, 1), round(step * 0.8, 1), round(slot.longest_wait * scale, 1), 0,
                f"{slot.at:%H:%M}: waited at most {slot.longest_wait:.1f} s",
            )
            for n, slot in enumerate(slots)
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
