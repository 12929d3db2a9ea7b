"""Stores for tests, of each kind in turn. Migrating takes longer than most tests, so it is done
once: SQLite's file is copied, PostgreSQL's tables are emptied."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, inspect, text

from milepost.store import schema
from milepost.store.database import Database, open_database
from milepost.store.tables import identity
from tests.servers import PostgresServer
from tests.store.store import Store, TurnedClock

KEPT = {schema.VERSION_TABLE, identity.name}


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated store without jobs."""
    url: str = request.getfixturevalue(f"{request.param}_store_url")
    return url


@pytest.fixture
def database(store_url: str, clock: TurnedClock) -> Iterator[Database]:
    database = quick(open_database(store_url, clock=clock))
    yield database
    database.close()


@pytest.fixture
def store(database: Database, clock: TurnedClock) -> Store:
    return Store(database, clock)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "milepost.db"
    database = open_database(str(path))
    schema.migrate(database)
    database.close()
    return path


@pytest.fixture
def sqlite_store_url(sqlite_template: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'milepost.db')}"


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    url = postgres.create_database()
    database = open_database(url)
    schema.migrate(database)
    database.close()
    return url


@pytest.fixture
def postgres_store_url(postgres_template: str) -> str:
    database = open_database(postgres_template)
    empty(database)
    database.close()
    return postgres_template


@pytest.fixture
def destination_url(store_url: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of the same kind as the store's."""
    if store_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'destination.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def destination(destination_url: str, clock: TurnedClock) -> Iterator[Database]:
    """A database of its own for data."""
    database = quick(open_database(destination_url, clock=clock))
    yield database
    database.close()


def quick(database: Database) -> Database:
    """Spare SQLite the wait for the disk: these tests kill processes, not machines."""
    if database.is_sqlite:

        @event.listens_for(database.engine, "connect")
        def hurry(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA synchronous = OFF")

    return database


def empty(database: Database) -> None:
    """Delete everything but what migrating made."""
    with database.begin() as conn:
        names = sorted(set(inspect(conn).get_table_names()) - KEPT)
        if database.is_sqlite:
            for name in names:
                conn.execute(text(f"DELETE FROM {name}"))
        elif names:
            conn.execute(text(f"TRUNCATE {', '.join(names)}"))
