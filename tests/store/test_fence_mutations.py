"""Without its attempt number, no fenced statement passes the state machine."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import event

from milepost.store import schema
from milepost.store.database import Database, open_database
from tests.store.machine import StoreMachine, Turned

# Nearly every seed finds each mutation, and one that does not has others behind it.
# Shrinking what was found would only take time.
SEEDS = range(1, 11)
SETTINGS = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)

MARKS = {
    "renew": "SET lease_expires_at=? ",
    "settle": "failures=(milepost_jobs.failures + batch.failed)",
    "save": "SET checkpoint=?, rescues=CASE ",
    "report": "SET checkpoint=coalesce(batch.checkpoint",
}
FENCE = re.compile(r"AND milepost_jobs\.attempt = (\?|batch\.attempt)")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    database = open_database(str(tmp_path / "a.db"), clock=Turned())
    schema.migrate(database)
    yield database
    database.close()


def unfenced(mark: str, hits: list[str]) -> Callable[..., tuple[str, Any]]:
    def rewrite(
        conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> tuple[str, Any]:
        if not statement.startswith("UPDATE milepost_jobs") or mark not in statement:
            return statement, parameters
        hits.append(statement)
        # The parameter stays where it stands, and says nothing any more.
        loose = FENCE.sub(lambda found: "AND ? IS NOT NULL" if found[1] == "?" else "", statement)
        assert loose != statement, statement
        return loose, parameters

    return rewrite


def run(store: Database, seeds: Iterable[int]) -> None:
    class Machine(StoreMachine):
        database = store

    for number in seeds:
        run_state_machine_as_test(seed(number)(Machine), settings=SETTINGS)


def test_the_same_run_passes_with_all_fences(store: Database) -> None:
    run(store, SEEDS[:1])


@pytest.mark.parametrize("verb", MARKS)
def test_promise_2_a_statement_without_its_fence_turns_the_machine_red(
    store: Database, verb: str
) -> None:
    hits: list[str] = []
    rewrite = unfenced(MARKS[verb], hits)
    event.listen(store.engine, "before_cursor_execute", rewrite, retval=True)
    # KeyError: settle answers for an attempt that nobody asked about.
    with pytest.raises((AssertionError, KeyError)):
        run(store, SEEDS)
    assert hits
