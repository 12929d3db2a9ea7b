"""Promises 1 to 5 under any order of calls, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from milepost.store import schema
from milepost.store.database import Database, open_database
from tests.store.machine import StoreMachine, Turned

SETTINGS = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    sqlite = request.param == "sqlite"
    url = str(tmp_path / "a.db") if sqlite else request.getfixturevalue("postgres_url")
    database = open_database(url, clock=Turned())
    schema.migrate(database)
    yield database
    database.close()


def test_promises_1_to_5_hold_after_every_step(store: Database) -> None:
    class Machine(StoreMachine):
        database = store

    run_state_machine_as_test(Machine, settings=SETTINGS)
