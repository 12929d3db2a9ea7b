from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from milepost.jobs.progress import Estimate, Part, Progress, ProgressPoint, estimate

START = datetime(2024, 5, 17, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("progress", "percentage"),
    [
        (Progress(0, 10), 0),
        (Progress(5, 10), 50),
        (Progress(10, 10), 100),
        (Progress(12, 10), 100),
        (Progress(-1, 10), 0),
        (Progress(5), None),
        (Progress(5, 0), None),
    ],
)
def test_a_percentage_is_known_only_with_a_total(
    progress: Progress, percentage: float | None
) -> None:
    assert progress.percentage == percentage


@pytest.mark.parametrize("numbers", [(1.5,), ("1",), (2**63,), (1, 2**63), (None,)])
def test_a_part_counts_in_whole_numbers(numbers: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match="must be a whole number"):
        Part(*numbers)


@pytest.mark.parametrize("parts", [{1: Part(1)}, {"rows": (1, 2)}, [Part(1)]])
def test_parts_have_names_and_are_parts(parts: Any) -> None:
    with pytest.raises(TypeError, match="Part for each name"):
        Progress(1, parts=parts)


def test_what_is_done_to_the_parts_afterwards_changes_no_progress() -> None:
    parts = {"rows": Part(1)}
    progress = Progress(1, parts=parts)
    parts["more"] = Part(2)
    assert progress.parts == {"rows": Part(1)}


def course(
    *steps: tuple[float, int], total: int | None = 1000, attempt: int = 1
) -> list[ProgressPoint]:
    """Points at (seconds, count)."""
    return [
        ProgressPoint(attempt, START + timedelta(seconds=seconds), count, total)
        for seconds, count in steps
    ]


def steady(points: int, *, every: float = 1, step: int = 10) -> list[ProgressPoint]:
    return course(*((i * every, i * step) for i in range(points)))


@pytest.mark.parametrize("points", [0, 1, 2, 3])
def test_too_few_points_say_nothing(points: int) -> None:
    assert estimate(steady(points)) == Estimate()


def test_too_short_a_time_says_nothing() -> None:
    assert estimate(steady(50, every=0.01)) == Estimate()


def test_many_points_at_one_moment_say_nothing() -> None:
    assert estimate(course(*((0, i) for i in range(50)))) == Estimate()


def test_a_steady_job_gets_a_narrow_range() -> None:
    found = estimate(steady(11))
    assert found.rate == pytest.approx(10)
    assert found.remaining == (timedelta(seconds=90), timedelta(seconds=90))


def test_an_uneven_job_gets_a_wide_range_around_its_average() -> None:
    found = estimate(course((0, 0), (1, 1), (2, 20), (3, 22), (4, 60), (5, 61), (6, 90)))
    assert found.rate == pytest.approx(15)
    assert found.remaining is not None
    soonest, latest = found.remaining
    average = timedelta(seconds=(1000 - 90) / 15)
    assert soonest < average < latest


def test_a_job_that_often_stood_still_gets_an_honest_upper_end() -> None:
    found = estimate(course((0, 0), (1, 0), (2, 0), (3, 50), (4, 50), (5, 100)))
    assert found.remaining is not None
    assert found.remaining[1] == timedelta(seconds=900 / 10)


def test_without_a_total_there_is_a_rate_and_no_remaining_time() -> None:
    found = estimate(course((0, 0), (1, 10), (2, 20), (3, 30), total=None))
    assert found.rate == pytest.approx(10)
    assert found.remaining is None


def test_a_job_that_stands_still_gets_no_estimate() -> None:
    assert estimate(course((0, 5), (1, 5), (2, 5), (3, 5))) == Estimate()


def test_a_job_that_goes_backwards_gets_no_estimate() -> None:
    assert estimate(course((0, 50), (1, 40), (2, 30), (3, 20))) == Estimate()


def test_past_its_total_a_job_has_no_time_left() -> None:
    found = estimate(course((0, 900), (1, 1000), (2, 1100), (3, 1200)))
    assert found.remaining == (timedelta(0), timedelta(0))


def test_only_the_running_attempt_counts() -> None:
    before = course((-1000, 0), (-500, 1), (-400, 2), (-300, 3), attempt=1)
    running = course((0, 3), (1, 13), (2, 23), (3, 33), attempt=2)
    assert estimate(before + running) == estimate(running)
    assert estimate(before + running[:1]) == Estimate()
