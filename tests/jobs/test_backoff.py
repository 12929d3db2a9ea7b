from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.jobs.backoff import Backoff
from milepost.jobs.payloads import Payload
from tests.store.store import HOUR, SECOND

STEADY = Backoff(jitter=0)


def test_the_wait_doubles_from_the_first() -> None:
    waits = [STEADY.wait(failures).total_seconds() for failures in (1, 2, 3, 4)]
    assert waits == [2, 4, 8, 16]


def test_the_wait_stops_growing_at_the_longest() -> None:
    assert STEADY.wait(12) == HOUR
    assert STEADY.wait(10_000) == HOUR


def test_a_factor_of_one_waits_the_same_each_time() -> None:
    backoff = Backoff(first=5 * SECOND, factor=1, jitter=0)
    assert {backoff.wait(failures) for failures in (1, 2, 50)} == {5 * SECOND}


@given(failures=st.integers(1, 200), chance=st.floats(0, 1), jitter=st.floats(0, 1))
def test_jitter_stays_within_its_share(failures: int, chance: float, jitter: float) -> None:
    steady = STEADY.wait(failures).total_seconds()
    wait = Backoff(jitter=jitter).wait(failures, chance=chance).total_seconds()
    assert steady * (1 - jitter) - 0.001 <= wait <= steady * (1 + jitter) + 0.001


def test_jitter_uses_its_whole_range() -> None:
    backoff = Backoff(first=10 * SECOND, jitter=0.5)
    assert backoff.wait(1, chance=0) == 5 * SECOND
    assert backoff.wait(1, chance=0.5) == 10 * SECOND
    assert backoff.wait(1, chance=1) == 15 * SECOND


def test_jobs_that_failed_together_do_not_come_back_together() -> None:
    assert len({Backoff().wait(1) for _ in range(50)}) > 1


@given(factor=st.floats(1, 1e12), failures=st.integers(1, 1000))
def test_any_factor_after_any_number_of_failures_gives_a_wait(factor: float, failures: int) -> None:
    assert Backoff(factor=factor, jitter=0).wait(failures) <= HOUR


@pytest.mark.parametrize(
    "options",
    [
        {"first": -SECOND},
        {"longest": -SECOND},
        {"factor": 0.5},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"jitter": float("nan")},
    ],
)
def test_a_backoff_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"back-off|factor|jitter"):
        Backoff(**options)


def test_a_backoff_survives_its_way_through_json() -> None:
    payload = Payload[Backoff]("backoff", Backoff)
    backoff = Backoff(first=timedelta(milliseconds=1500), factor=1.5, longest=HOUR, jitter=0.1)
    assert payload.load(payload.dump(backoff)) == backoff
