from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Connection, Engine, create_engine, event

from milepost.store import duckdb


@pytest.fixture(params=["sqlite", "postgres", "duckdb"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty destination, of each kind in turn."""
    if request.param == "sqlite":
        engine = sqlite_engine(tmp_path / "snapshot.db")
    elif request.param == "duckdb":
        engine = duckdb.open_engine(
            URL.create("duckdb", database=str(tmp_path / "snapshot.duckdb"))
        )
    else:
        url = request.getfixturevalue("postgres_url")
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    yield engine
    engine.dispose()


def sqlite_engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def connected(dbapi: Any, record: Any) -> None:
        # The driver must not begin transactions of its own: only so DDL is part of ours.
        dbapi.isolation_level = None
        dbapi.execute("PRAGMA journal_mode=WAL")

    @event.listens_for(engine, "begin")
    def begun(conn: Connection) -> None:
        conn.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
