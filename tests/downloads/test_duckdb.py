"""Downloads into a DuckDB file, which one process at a time has."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from milepost import JobState, open_database
from milepost.errors import DestinationLocked
from milepost.snapshots import read_quarantine
from tests.downloads.conftest import Downloads

HOLDS = (
    "import duckdb, sys; file = duckdb.connect(sys.argv[1]); print(flush=True); sys.stdin.read()"
)


@pytest.fixture
def downloads(downloads: Downloads, tmp_path: Path) -> Downloads:
    downloads.into = tmp_path / "snapshot.duckdb"
    return downloads


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another process has the file."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.kill()


async def test_a_file_that_another_process_has_is_waited_for_at_no_cost(
    downloads: Downloads,
) -> None:
    database = open_database(str(downloads.into))
    with held(downloads.into):
        run = await downloads.run()
        with pytest.raises(DestinationLocked) as caught, database.read():
            pass
    assert (run.state, run.view.failures) == (JobState.SCHEDULED, 0)
    assert f"another process has {downloads.into}, and DuckDB lets only one" in str(caught.value)

    assert (await downloads.run()).result.tables["items"].inserted == 30


async def test_what_it_is_told_of_a_pass_holds_as_elsewhere(downloads: Downloads) -> None:
    await downloads.run()
    downloads.shop.ids = [*range(2, 30), 77]
    downloads.shop.wrong[1] = {
        "data": [
            {"id": 2, "n": 2},
            {"id": 3, "n": -1},
            *({"id": each, "n": each} for each in (4, 5, 6)),
        ]
    }
    table = (await downloads.run()).result.tables["items"]
    assert (table.inserted, table.updated, table.unchanged) == (1, 1, 27)
    assert sorted(downloads.rows()) == [*range(30), 77]

    downloads.shop.wrong[1] = {
        "data": [{"n": 5}, *({"id": each, "n": each} for each in (3, 4, 5, 6))]
    }
    table = (await downloads.run()).result.tables["items"]
    assert (table.quarantined, table.deleted) == (1, 0)
    database = open_database(str(downloads.into))
    with database.read() as conn:
        assert [each.record for each in read_quarantine(conn, "items")] == [{"n": 5}]
    database.close()


async def test_what_the_file_refuses_fails_with_the_reason(downloads: Downloads) -> None:
    await downloads.run()
    database = open_database(str(downloads.into))
    with database.begin() as conn:
        conn.execute(text("CREATE UNIQUE INDEX once ON items (n)"))
    database.close()
    downloads.shop.wrong[1] = {"data": [{"id": each, "n": 29} for each in range(5)]}

    run = await downloads.run()

    assert run.state is JobState.FAILED, run.view.error
    assert run.view.error is not None
    assert "table 'items'" in run.view.error
    assert "Duplicate key" in run.view.error
