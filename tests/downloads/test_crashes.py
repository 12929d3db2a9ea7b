"""The download resumes at every page: the same snapshot whenever it was killed."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import svcs

from milepost import open_database, snapshots
from milepost.connectors import Secrets, source_from
from milepost.demo_api import DemoApi
from milepost.downloads import DownloadRecords, download_records
from milepost.store.database import Database
from milepost.testing import World, crash_at_every_checkpoint
from tests.servers import PostgresServer


@pytest.fixture(params=["sqlite", "postgres", "duckdb"])
def destination(request: pytest.FixtureRequest) -> str:
    """The kind of database that the records go to."""
    return str(request.param)


def contents(database: Database) -> dict[str, list[dict[str, object]]]:
    with database.read() as conn:
        return {
            table.name: snapshots.read_rows(conn, table.name)
            for table in snapshots.list_tables(conn)
        }


async def test_promise_3_the_download_comes_out_the_same_after_every_crash(
    destination: str, request: pytest.FixtureRequest
) -> None:
    api = DemoApi(sizes={"customers": 7, "orders": 8}, rate_limit=None, fail_every=None)
    values = {"API": await api.start()}

    @contextlib.asynccontextmanager
    async def world() -> AsyncIterator[World]:
        with tempfile.TemporaryDirectory() as folder:
            if destination == "postgres":
                server: PostgresServer = request.getfixturevalue("postgres")
                url = server.create_database()
            else:
                url = str(Path(folder) / f"snapshot.{destination}")
            values["INTO"] = url
            database = open_database(url)
            services = svcs.Registry()
            services.register_factory(Secrets, lambda: Secrets(values))
            yield World(services, lambda: contents(database))
            database.close()

    args = DownloadRecords(
        source=source_from("$API", tables=["customers", "orders"], page_size=3),
        into="$INTO",
        commit_within=0,
    )
    try:
        report = await crash_at_every_checkpoint(download_records, args, world=world)
    finally:
        await api.aclose()

    assert report.same, str(report)
    # Two tables: each begins, has three pages, and is finished.
    assert report.saves == 2 * (1 + 3 + 1)
