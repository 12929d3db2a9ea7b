from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from milepost.errors import PayloadInvalid, PayloadTooLarge
from milepost.jobs.backoff import LONGEST_WAIT
from milepost.jobs.context import SyncJobContext
from milepost.jobs.definition import job
from milepost.jobs.names import LOWEST_PRIORITY
from milepost.jobs.requests import SubmitOptions, request
from tests.store.store import HOUR, SECOND, job_request


@dataclass(frozen=True)
class Args:
    text: str = ""


@job("work", queue="sync", priority=4, max_attempts=5, time_limit=timedelta(minutes=1))
def work(ctx: SyncJobContext[Args], args: Args) -> None: ...


def test_a_request_takes_from_the_definition_what_it_does_not_say() -> None:
    made = request(work, "{}", {}, largest=100)
    assert (made.kind, made.queue, made.priority, made.max_attempts, made.time_limit) == (
        "work",
        "sync",
        4,
        5,
        timedelta(minutes=1),
    )


def test_a_request_says_otherwise_for_one_job() -> None:
    options = SubmitOptions(queue="fast", priority=0, max_attempts=1, tags=["a", "b"], owner="me")
    made = request(work, "{}", options, largest=100)
    assert (made.queue, made.priority, made.max_attempts) == ("fast", 0, 1)
    assert (made.tags, made.owner) == (("a", "b"), "me")


def test_a_misspelt_option_is_told() -> None:
    options: Any = {"priorty": 1}
    with pytest.raises(TypeError, match="priorty"):
        request(work, "{}", options, largest=100)


def test_promise_8_args_past_the_limit_are_refused_by_their_size_in_bytes() -> None:
    assert request(work, "ä" * 50, {}, largest=100).args
    with pytest.raises(PayloadTooLarge, match="args of work is 102 bytes") as caught:
        request(work, "ä" * 51, {}, largest=100)
    assert (caught.value.size, caught.value.limit) == (102, 100)


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 0},
        {"priority": LOWEST_PRIORITY},
        {"max_attempts": 1},
        {"queue": "q" * 200},
        *({"queue": name} for name in ("größe.1", "Image Processing", "a@b+c-d_e", "...", "{a}")),
        {"unique_key": "k" * 200},
        {"delay": HOUR},
        {"delay": timedelta(0)},
        {"run_at": datetime(2024, 5, 17, tzinfo=UTC)},
        {"time_limit": SECOND},
        {"time_limit": LONGEST_WAIT},
    ],
)
def test_a_request_at_its_limits_is_taken(options: dict[str, Any]) -> None:
    job_request(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"priority": -1},
        {"priority": LOWEST_PRIORITY + 1},
        {"max_attempts": 0},
        {"queue": ""},
        {"queue": "q" * 201},
        *(
            {"queue": name}
            for name in ("a/b", "..", ".", "a%2Fb", "a:b", "a,b", " a", "a\n", "a?b")
        ),
        {"unique_key": ""},
        {"unique_key": "k" * 201},
        {"delay": HOUR, "run_at": datetime(2024, 5, 17, tzinfo=UTC)},
        {"run_at": datetime(2024, 5, 17)},  # noqa: DTZ001
        {"time_limit": timedelta(0)},
        {"time_limit": LONGEST_WAIT + SECOND},
        {"time_limit": timedelta.max},
    ],
)
def test_a_request_past_its_limits_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(PayloadInvalid):
        job_request(**options)
