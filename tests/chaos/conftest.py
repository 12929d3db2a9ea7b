"""A store with a table of data beside it, on each database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from milepost import Database, open_database
from tests.stores import Stores


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, stores: Stores, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_store_url"))
    return stores.sqlite(tmp_path / "store.db")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = open_database(url)
    with database.begin() as conn:
        conn.execute(text("CREATE TABLE pages (page INTEGER, attempt INTEGER)"))
    yield database
    database.close()


def rows(database: Database) -> list[tuple[int, int]]:
    """The pages that were written, and the attempts that wrote them."""
    with database.read() as conn:
        found = conn.execute(text("SELECT page, attempt FROM pages ORDER BY page, attempt"))
        return [(row.page, row.attempt) for row in found]
