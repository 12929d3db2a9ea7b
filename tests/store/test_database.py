import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from sqlalchemy import Connection, event, text

from milepost.database_urls import parse_url
from milepost.errors import ConfigurationError, StoreError
from milepost.store.database import Database, _Turn, open_database
from tests.store.store import Store, make_data_table, write_row, written


def test_what_waits_for_a_commit_happens_after_it(store: Store) -> None:
    happened: list[list[int]] = []
    make_data_table(store.database)
    with store.database.begin() as conn:
        write_row(conn, 1, 1)
        store.database.after_commit(conn, lambda: happened.append(written(store.database, 1)))
        assert happened == []
    assert happened == [[1]]


def test_what_waits_for_a_commit_does_not_happen_after_a_rollback(store: Store) -> None:
    happened: list[int] = []

    def broken() -> None:
        with store.database.begin() as conn:
            store.database.after_commit(conn, lambda: happened.append(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    with store.database.begin() as conn:
        conn.execute(text("SELECT 1"))
    assert happened == []


async def test_a_cancelled_wait_waits_for_the_transactions_end(database: Database) -> None:
    make_data_table(database)
    begun, go_on = threading.Event(), threading.Event()

    def slow(conn: Connection) -> None:
        begun.set()
        go_on.wait(30)
        write_row(conn, 1, 1)

    waiting = asyncio.create_task(database.run(slow))
    assert await asyncio.to_thread(begun.wait, 30)
    waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert written(database, 1) == [1]


async def test_an_error_of_the_work_reaches_who_waits(database: Database) -> None:
    def broken(conn: Connection) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.run(broken)
    with pytest.raises(ZeroDivisionError):
        await database.query(broken)


def test_a_database_closes_twice(store_url: str) -> None:
    database = open_database(store_url)
    with database.read() as conn:
        conn.execute(text("SELECT 1"))
    database.close()
    database.close()


def test_a_sibling_is_the_same_database_with_connections_of_its_own(database: Database) -> None:
    sibling = database.sibling()
    assert sibling.same_as(database)
    assert sibling.engine is not database.engine
    make_data_table(database)
    with sibling.begin() as conn:
        write_row(conn, 1, 1)
    assert written(database, 1) == [1]
    sibling.close()


class Queued:
    """A lock that is taken by others so many times before one gets it."""

    def __init__(self, others: int) -> None:
        self.others = others
        self.turn = _Turn()
        self.turn._lock = cast(Any, self)

    def acquire(self, timeout: float) -> bool:
        self.others -= 1
        self.turn._taken += self.others >= 0
        return self.others < 0

    def release(self) -> None:
        pass


def test_a_writer_of_sqlite_waits_while_others_have_their_turns() -> None:
    with Queued(5).turn as turn:
        assert turn is None


def test_a_writer_of_sqlite_gives_up_where_one_keeps_its_turn(
    sqlite_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milepost.store.database.BUSY_SECONDS", 0.01)
    database = open_database(sqlite_store_url)
    with database.begin(), pytest.raises(StoreError, match="of its own"), database.begin():
        pass
    database.close()


def test_another_database_is_not_the_same(database: Database, destination: Database) -> None:
    assert not database.same_as(destination)
    assert database.same_as(database)


def test_one_file_has_many_spellings(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    plain = open_database(str(tmp_path / "x.db"))
    winding = open_database(f"sqlite:///{tmp_path}/a/../x.db")
    assert plain.same_as(winding)
    plain.close()
    winding.close()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql:///app?host=10.0.0.1", "postgresql:///app?host=10.0.0.2"),
        ("postgresql://me@db/app", "postgresql://me@db/app?options=-csearch_path%3Dsnap"),
        ("postgresql:///app?service=a", "postgresql:///app?service=b"),
    ],
)
def test_what_a_url_says_in_its_query_is_another_database(one: str, other: str) -> None:
    databases = [open_database(one), open_database(other), open_database(one)]
    assert not databases[0].same_as(databases[1])
    assert databases[0].same_as(databases[2])
    for database in databases:
        database.close()


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("postgresql://me@host/db", "postgresql+psycopg"),
        ("postgresql+asyncpg://me@host/db", "postgresql+psycopg"),
        ("postgres://me@host/db", "postgresql+psycopg"),
        ("sqlite:///a.db", "sqlite"),
        ("some/file.db", "sqlite"),
    ],
)
def test_a_url_or_a_path_names_a_database(given: str, driver: str) -> None:
    assert parse_url(given).drivername == driver


@pytest.mark.parametrize("given", ["mysql://me@host/db", "nonsense://", "oracle://x"])
def test_any_other_database_is_refused_with_what_is_taken(given: str) -> None:
    with pytest.raises(ConfigurationError, match="sqlite:///FILE"):
        parse_url(given)


@pytest.mark.parametrize("given", ["sqlite://", "sqlite:///:memory:", ":memory:", "duckdb://"])
def test_a_database_in_memory_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError, match="in memory"):
        open_database(given)


def test_a_file_in_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"{tmp_path}/no/x.db"):
        open_database(f"sqlite:///{tmp_path}/no/x.db")


def test_no_password_is_shown() -> None:
    database = open_database("postgresql://me:hunter2@127.0.0.1:1/db")
    assert "hunter2" not in database.url
    database.close()


async def test_a_connection_that_comes_back_while_its_database_closes_is_closed(
    database: Database,
) -> None:
    given_back: list[sqlite3.Connection | psycopg.Connection] = []

    @event.listens_for(database.engine, "checkin")
    def close_now(connection: Any, _: object) -> None:
        if not given_back:
            given_back.append(connection)
            database.close(wait=False)

    with database.read() as conn:
        conn.execute(text("SELECT 1"))
    [connection] = given_back
    with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match=r"closed"):
        connection.execute("SELECT 1")
