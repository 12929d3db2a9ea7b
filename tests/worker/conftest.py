import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Unpack

import pytest
import svcs

from milepost import Database, JobDefinition, open_database
from milepost.store import schema
from tests.servers import PostgresServer
from tests.worker.apps import App, OpenApp, Overrides
from tests.worker.rows import create_rows


def _migrated(url: str) -> str:
    database = open_database(url)
    schema.migrate(database)
    database.close()
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store, of each kind in turn."""
    if request.param == "sqlite":
        return _migrated(f"sqlite:///{tmp_path / 'store.db'}")
    return _migrated(request.getfixturevalue("postgres_url"))


@pytest.fixture
def postgres_store_url(postgres_url: str) -> str:
    """The URL of an empty store on PostgreSQL."""
    return _migrated(postgres_url)


@pytest.fixture
def database(store_url: str) -> Iterator[Database]:
    """The store, with the data table in it."""
    opened = open_database(store_url)
    create_rows(opened)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgres"])
def other_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database that is not the store, with the data table in it."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'data.db'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database()
    opened = open_database(url)
    create_rows(opened)
    yield opened
    opened.close()


@pytest.fixture
async def open_app(store_url: str) -> AsyncIterator[OpenApp]:
    """Open applications on the store."""
    async with contextlib.AsyncExitStack() as stack:

        async def open_(
            *definitions: JobDefinition[Any, Any, Any],
            services: svcs.Registry | None = None,
            **overrides: Unpack[Overrides],
        ) -> App:
            app = App(definitions, store_url, services=services, **overrides)
            return await stack.enter_async_context(app)

        yield open_
