"""Fixtures that every test may use. Servers are private to the test process."""

import logging
from collections.abc import Iterator
from itertools import count

import pytest

from milepost.settings import RedisSettings
from tests.servers import (
    MariadbServer,
    PostgresServer,
    RedisServer,
    mariadb_server,
    postgres_server,
    redis_server,
)
from tests.stores import Stores

_prefixes = count(1)


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """A command that a test runs in its own process sets the level of Milepost's log: set back."""
    own_log = logging.getLogger("milepost")
    before = own_log.level
    yield
    own_log.setLevel(before)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A private PostgreSQL server, one for each test process."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariadbServer]:
    """A private MariaDB server, one for each test process."""
    with mariadb_server() as server:
        yield server


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """A private Redis, one for each test process; nobody kills it."""
    with redis_server() as server:
        yield server


@pytest.fixture
def redis_settings(shared_redis: RedisServer) -> RedisSettings:
    """The settings for an empty corner of the shared Redis."""
    prefix = f"{{test-{next(_prefixes)}}}"
    return RedisSettings(url=shared_redis.url, prefix=prefix)


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """Makes empty stores."""
    return Stores(tmp_path_factory.mktemp("stores"))


@pytest.fixture
def postgres_store_url(stores: Stores, postgres: PostgresServer) -> str:
    """The URL of an empty store on PostgreSQL."""
    return stores.postgres(postgres)


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """The URL of an empty database."""
    return postgres.create_database()
