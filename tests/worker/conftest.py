import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Unpack

import pytest
import svcs

from milepost import Database, JobDefinition, open_database
from tests.servers import PostgresServer
from tests.stores import Stores
from tests.worker.apps import App, OpenApp, Overrides
from tests.worker.rows import create_rows


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, stores: Stores, tmp_path: Path) -> str:
    """The URL of an empty store, of each kind in turn."""
    if request.param == "sqlite":
        return stores.sqlite(tmp_path / "store.db")
    return str(request.getfixturevalue("postgres_store_url"))


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
