"""What only the coroutine pool does: its one loop outlives whatever a handler does to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from milepost.errors import JobCancelled
from milepost.jobs.outcomes import Cancelled, Completed, Failed, Outcome
from tests.pools.rig import QUICK, Rig, descriptors, rig
from tests.stores import Stores

# A selector, and the two ends of what wakes it.
A_LOOP = 3


@pytest.fixture
def pool(stores: Stores, tmp_path: Path) -> Iterator[Rig]:
    with rig("coroutine", stores.sqlite(tmp_path / "store.db")) as made:
        yield made


@pytest.mark.parametrize(
    ("harm", "outcome"),
    [
        ("exits-in-a-task", "SystemExit"),
        ("interrupts-in-a-task", "KeyboardInterrupt"),
        ("stops-its-loop", Completed("null")),
    ],
)
def test_a_handler_that_ends_its_loop_costs_no_other_job(
    pool: Rig, harm: str, outcome: Outcome | str
) -> None:
    beside = pool.start("looks")
    ended = pool.run(harm)
    assert (ended.error if isinstance(ended, Failed) else ended) == outcome

    beside.token.stop(JobCancelled("enough"))
    assert pool.outcome(beside) == Cancelled("enough")
    assert pool.run("answers", 1) == Completed("2")


@pytest.mark.parametrize("variant", ["coroutine", "process"])
def test_a_pool_that_was_never_started_closes_its_loop(
    stores: Stores, tmp_path: Path, variant: str
) -> None:
    made = Rig(variant, stores.sqlite(tmp_path / "store.db"), QUICK)
    before = descriptors()
    made.pool.close()

    assert descriptors() == before - A_LOOP
    made.database.close()
