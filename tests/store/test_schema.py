import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine.interfaces import ReflectedIndex

from milepost.errors import StoreOutdated
from milepost.store import reading, schema
from milepost.store.database import Database, open_database
from milepost.store.tables import metadata

MIGRATE = """
import sys
from milepost.store.database import open_database
from milepost.store.schema import migrate
sys.stdin.readline()
database = open_database(sys.argv[1])
print(migrate(database))
database.close()
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def unmade(url: str) -> Iterator[Database]:
    database = open_database(url)
    yield database
    database.close()


def version(database: Database) -> str | None:
    with database.read() as conn:
        return schema.version(conn)


def test_migrating_makes_exactly_the_tables_that_the_code_uses(unmade: Database) -> None:
    schema.migrate(unmade)
    with unmade.read() as conn:
        context = MigrationContext.configure(
            conn, opts={"version_table": schema.VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, metadata) == []


def described(conn: Connection) -> dict[str, Any]:
    """All that a database knows of its tables and indexes, whatever order columns have."""
    found = inspect(conn)
    return {
        table: {
            "columns": {
                each["name"]: (str(each["type"]), each["nullable"], each["default"])
                for each in found.get_columns(table)
            },
            "key": found.get_pk_constraint(table),
            "unique": sorted(map(str, found.get_unique_constraints(table))),
            "indexes": sorted(
                (each["name"], each["column_names"], each["unique"], str(where(each)))
                for each in found.get_indexes(table)
            ),
            "counts on": "AUTOINCREMENT" in str(spelled(conn, table)),
        }
        for table in found.get_table_names()
        if table != "sqlite_sequence"
    }


def where(index: ReflectedIndex) -> object:
    options = index.get("dialect_options", {})
    return options.get("postgresql_where", options.get("sqlite_where"))


def spelled(conn: Connection, table: str) -> str | None:
    if conn.dialect.name != "sqlite":
        return None
    sql = text("SELECT sql FROM sqlite_master WHERE name = :name")
    return str(conn.execute(sql, {"name": table}).scalar())


def test_a_new_store_is_as_one_that_had_every_migration(
    unmade: Database, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    schema.migrate(unmade)
    if unmade.is_sqlite:
        url = f"sqlite:///{tmp_path / 'old.db'}"
    else:
        url = request.getfixturevalue("postgres").create_database()
    grown = open_database(url)
    with grown.begin() as conn:
        schema.upgrade(conn)
    with grown.read() as old, unmade.read() as new:
        assert described(old) == described(new)
    assert version(grown) == version(unmade) == schema.HEAD
    grown.close()


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


def test_migrating_says_what_was_there_and_is_safe_to_repeat(unmade: Database) -> None:
    assert version(unmade) is None
    assert schema.migrate(unmade) is None
    assert version(unmade) == schema.HEAD
    with unmade.read() as conn:
        name = reading.store_id(conn)
    assert schema.migrate(unmade) == schema.HEAD
    with unmade.read() as conn:
        assert reading.store_id(conn) == name


def test_processes_that_migrate_at_once_make_one_store(url: str, unmade: Database) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("now\n")
        process.stdin.flush()
    ended = [(*process.communicate(timeout=60), process.returncode) for process in processes]

    assert [code for _, _, code in ended] == [0] * 4, [error for _, error, _ in ended]
    assert "None" in {out.strip() for out, _, _ in ended}
    with unmade.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM milepost_store")).scalar() == 1
    assert version(unmade) == schema.HEAD


def test_a_start_migrates_sqlite_and_asks_for_it_on_postgres(unmade: Database) -> None:
    if unmade.is_sqlite:
        schema.ensure(unmade)
        assert version(unmade) == schema.HEAD
        return
    with pytest.raises(StoreOutdated, match="run `milepost migrate`"):
        schema.ensure(unmade)
    assert version(unmade) is None
    schema.migrate(unmade)
    schema.ensure(unmade)


def test_a_store_newer_than_the_program_is_told(unmade: Database) -> None:
    schema.migrate(unmade)
    with unmade.begin() as conn:
        conn.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(StoreOutdated, match="9999"):
        schema.ensure(unmade)
    assert version(unmade) == "9999"


def test_a_folder_with_a_percent_sign_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "100%s"
    folder.mkdir()
    database = open_database(str(folder / "store.db"))
    schema.migrate(database)
    assert version(database) == schema.HEAD
    database.close()
