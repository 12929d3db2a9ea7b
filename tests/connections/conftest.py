from collections.abc import Callable
from pathlib import Path

import pytest

from milepost.connections import Connections, Keyring, make_key
from milepost.connectors import HttpSource
from milepost.settings import SecretKeySettings
from milepost.store.database import Database
from tests.connectors.conftest import serve
from tests.store.fixtures import (
    clock,
    database,
    postgres_store_url,
    postgres_template,
    sqlite_store_url,
    sqlite_template,
    store_url,
)

__all__ = [
    "clock",
    "database",
    "postgres_store_url",
    "postgres_template",
    "serve",
    "sqlite_store_url",
    "sqlite_template",
    "store_url",
]

SHOP = HttpSource(
    url="https://shop.example/v1",
    tables={"orders": "orders", "customers": "customers"},
    headers={"Authorization": "Bearer $TOKEN", "X-Region": "eu"},
)


@pytest.fixture(scope="session")
def keys() -> list[str]:
    return [make_key() for _ in range(3)]


WithKeys = Callable[..., Connections]


@pytest.fixture
def with_keys(database: Database) -> WithKeys:
    """The connections of the store as a program sees them that has these keys."""

    def see(*keys: str) -> Connections:
        return Connections(database, Keyring(SecretKeySettings(keys=",".join(keys)), database))

    return see


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(make_key() + "\n")
    path.chmod(0o600)
    return path
