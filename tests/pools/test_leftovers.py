"""What a handler leaves behind in its child is not for the next one."""

from pathlib import Path

import psutil
import pytest
from pydantic_core import from_json

from milepost.errors import JobCancelled
from milepost.jobs.outcomes import Cancelled, Completed
from tests.pools.conftest import Open
from tests.pools.rig import SOON, children


def test_what_swallows_its_cancel_does_nothing_more_once_its_job_has_ended(
    open_rig: Open, tmp_path: Path
) -> None:
    pool = open_rig(least=1, most=1)
    swallowed = tmp_path / "swallowed"
    swallowed.touch()
    attempt = pool.start("swallows-its-cancel", str(swallowed))
    before = children(pool)
    attempt.token.stop(JobCancelled("enough"))
    pool.pool.force(attempt)

    assert pool.outcome(attempt) == Cancelled("enough")
    assert psutil.wait_procs(before, timeout=SOON)[1] == []
    # None where its process was interrupted before it came to that.
    assert len(swallowed.read_text().splitlines()) <= 1
    assert pool.run("answers", 1) == Completed("2")


def test_a_copy_that_a_handler_has_forked_goes_when_it_is_told_to(open_rig: Open) -> None:
    pool = open_rig(least=1, most=1)

    assert pool.run("ends-its-copy") == Completed("-15")


def test_a_context_variable_that_a_handler_sets_is_not_set_for_the_next(open_rig: Open) -> None:
    pool = open_rig(least=1, most=1)
    first, second = (pool.run("sets-a-variable") for _ in range(2))

    # Also: the same process.
    assert first == second
    assert isinstance(first, Completed)
    assert from_json(first.result)[1] == 0


@pytest.mark.parametrize("leaves", ["lowers-its-limit", "leaves-zombies"])
def test_a_child_that_a_handler_has_spoilt_is_replaced(open_rig: Open, leaves: str) -> None:
    pool = open_rig(least=1, most=1)
    spoilt = pool.run(leaves)
    following = pool.run("tells-its-process")

    assert isinstance(spoilt, Completed)
    assert isinstance(following, Completed)
    assert spoilt.result != following.result
