"""The contract of connectors, kept by the databases."""

import sqlite3
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from milepost.connectors import Access, Connector, Secrets, open_connector, source_from
from milepost.testing.connectors import ConnectorContract, Fault, World
from tests.connectors.sql.bases import Base
from tests.connectors.worlds import TABLES


class Shop:
    """A database that misbehaves when told."""

    tables = TABLES
    key = "id"

    def __init__(self, base: Base) -> None:
        self._base = base
        self._lock: Any = None
        for table, records in self.tables.items():
            base.run(f"CREATE TABLE {table} (id integer PRIMARY KEY, name varchar(40) NOT NULL)")
            base.insert(table, [dict(each) for each in records])

    async def open(self) -> Connector:
        source = source_from(self._base.url, page_size=5)
        return open_connector(source, Access(secrets=Secrets(self._base.values)))

    async def suffer(self, fault: Fault) -> None:
        match fault, self._base.kind:
            case "credentials refused", "postgres":
                self._base.run("ALTER ROLE reader PASSWORD 'another'")
            case "credentials refused", _:
                self._base.run("ALTER USER reader@'127.0.0.1' IDENTIFIED BY 'another'")
            case _, "sqlite":
                self._lock = sqlite3.connect(str(self._base.engine.url.database))
                self._lock.execute("BEGIN EXCLUSIVE")
            case _, kind:
                self._lock = self._base.engine.connect()
                self._lock.exec_driver_sql(
                    "LOCK TABLE orders" if kind == "postgres" else "LOCK TABLES orders WRITE"
                )

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()


class TestPostgres(ConnectorContract):
    faults: ClassVar[frozenset[Fault]] = frozenset({"slow", "credentials refused"})

    @pytest.fixture
    def world(self, postgres_base: Base) -> Iterator[World]:
        shop = Shop(postgres_base)
        yield shop
        shop.close()


class TestMariadb(ConnectorContract):
    faults: ClassVar[frozenset[Fault]] = frozenset({"slow", "credentials refused"})

    @pytest.fixture
    def world(self, mariadb_base: Base) -> Iterator[World]:
        shop = Shop(mariadb_base)
        yield shop
        shop.close()


class TestSqlite(ConnectorContract):
    faults: ClassVar[frozenset[Fault]] = frozenset({"slow"})

    @pytest.fixture
    def world(self, sqlite_base: Base) -> Iterator[World]:
        shop = Shop(sqlite_base)
        yield shop
        shop.close()
