import threading
import tracemalloc
from itertools import pairwise

import pytest

from milepost.errors import (
    AttemptStopped,
    JobCancelled,
    JobInterrupted,
    LeaseLost,
    TimeLimitExceeded,
)
from milepost.jobs.tokens import CancelToken

BY_WEIGHT: list[type[AttemptStopped]] = [JobInterrupted, TimeLimitExceeded, JobCancelled, LeaseLost]


def test_a_new_token_asks_for_nothing() -> None:
    token = CancelToken()
    assert token.why is None
    assert not token.requested
    assert not token.stopping
    token.raise_if_cancelled()
    token.raise_if_stopped()
    assert not token.wait(0)


@pytest.mark.parametrize("reason", [JobCancelled, TimeLimitExceeded, LeaseLost])
def test_a_stop_for_good_is_raised(reason: type[AttemptStopped]) -> None:
    token = CancelToken()
    token.stop(reason("because"))
    assert token.requested
    assert not token.stopping
    with pytest.raises(reason, match="because"):
        token.raise_if_cancelled()
    with pytest.raises(reason, match="because"):
        token.raise_if_stopped()


def test_the_worker_that_stops_is_no_cancel() -> None:
    token = CancelToken()
    token.stop(JobInterrupted())
    assert token.stopping
    assert not token.requested
    token.raise_if_cancelled()
    with pytest.raises(JobInterrupted):
        token.raise_if_stopped()


@pytest.mark.parametrize(("lighter", "heavier"), list(pairwise(BY_WEIGHT)))
def test_the_weightier_reason_wins_in_either_order(
    lighter: type[AttemptStopped], heavier: type[AttemptStopped]
) -> None:
    for order in ([lighter, heavier], [heavier, lighter]):
        token = CancelToken()
        for reason in order:
            token.stop(reason())
        assert type(token.why) is heavier


def test_the_first_of_equal_reasons_is_kept() -> None:
    token = CancelToken()
    token.stop(JobCancelled("first"))
    token.stop(JobCancelled("second"))
    assert str(token.why) == "first"


def test_a_listener_hears_a_stop_once() -> None:
    token, heard = CancelToken(), []
    token.on_stop(lambda: heard.append(token.why))
    assert heard == []
    token.stop(JobCancelled())
    token.stop(JobCancelled())
    assert heard == [token.why]


def test_a_listener_hears_of_a_weightier_reason() -> None:
    token, heard = CancelToken(), []
    token.on_stop(lambda: heard.append(type(token.why)))
    token.stop(JobInterrupted())
    token.stop(JobCancelled())
    assert heard == [JobInterrupted, JobCancelled]


def test_a_late_listener_hears_at_once() -> None:
    token, heard = CancelToken(), []
    token.stop(JobCancelled())
    token.on_stop(lambda: heard.append(token.why))
    assert heard == [token.why]


def test_a_waiting_thread_is_woken_by_another() -> None:
    token, told = CancelToken(), []
    waiting = threading.Thread(target=lambda: told.append(token.wait(30)))
    waiting.start()
    token.stop(JobCancelled())
    waiting.join(30)
    assert told == [True]


def test_a_wait_that_comes_late_ends_at_once() -> None:
    token = CancelToken()
    token.stop(JobInterrupted())
    assert token.wait(30)


def test_a_loop_that_waits_again_and_again_leaves_nothing_behind() -> None:
    token = CancelToken()
    token.wait(0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(1000):
            token.wait(0)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 10_000
    token.stop(JobCancelled())
    assert token.wait(0)


def test_threads_that_stop_at_once_leave_the_weightiest_reason() -> None:
    token = CancelToken()
    together = threading.Barrier(len(BY_WEIGHT) * 4)

    def stop(reason: type[AttemptStopped]) -> None:
        together.wait(30)
        token.stop(reason())

    threads = [threading.Thread(target=stop, args=[reason]) for reason in BY_WEIGHT * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert isinstance(token.why, LeaseLost)


def test_a_stop_passes_through_except_exception() -> None:
    assert not any(issubclass(reason, Exception) for reason in BY_WEIGHT)
