import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine.interfaces import ReflectedIndex

from milepost.errors import StoreError, StoreOutdated
from milepost.jobs.outcomes import Completed
from milepost.jobs.states import JobState
from milepost.store import jobs, reading, schema
from milepost.store.database import Database, open_database
from milepost.store.tables import metadata
from tests.chaos.processes import until
from tests.store.store import Store, TurnedClock, job_request

BEFORE = "0012"
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


def make_of_version(database: Database, to: str) -> None:
    with database.engine.connect() as conn:
        schema.upgrade(conn, to)
        conn.commit()


def make_newer(database: Database, *, oldest_program: str) -> None:
    """Let the tables be those of a program that nobody has written yet."""
    schema.migrate(database)
    with database.begin() as conn:
        conn.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
        conn.execute(text("UPDATE milepost_store SET oldest_program = :it"), {"it": oldest_program})


def oldest_program(database: Database) -> str | None:
    with database.read() as conn:
        found = conn.execute(text("SELECT oldest_program FROM milepost_store"))
        return str(found.scalar_one())


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
            "storage": storage(conn, table),
        }
        for table in found.get_table_names()
        if table != "sqlite_sequence"
    }


def where(index: ReflectedIndex) -> object:
    options = index.get("dialect_options", {})
    return options.get("postgresql_where", options.get("sqlite_where"))


def storage(conn: Connection, table: str) -> object:
    if conn.dialect.name == "sqlite":
        return None
    sql = text("SELECT reloptions FROM pg_class WHERE oid = CAST(:name AS regclass)")
    return conn.execute(sql, {"name": table}).scalar()


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
    make_of_version(grown, "0001")
    schema.migrate(grown)
    assert oldest_program(grown) == oldest_program(unmade) == schema.OLDEST_PROGRAM
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
    make_newer(unmade, oldest_program="9998")
    for refused in (schema.ensure, schema.migrate):
        with pytest.raises(StoreOutdated, match=r"version 9999.* a newer Milepost made them"):
            refused(unmade)
    assert version(unmade) == "9999"


def test_a_program_starts_on_newer_tables_that_still_serve_it(unmade: Database) -> None:
    make_newer(unmade, oldest_program=schema.HEAD)
    schema.ensure(unmade)
    assert schema.migrate(unmade) == "9999"
    assert version(unmade) == "9999"


# Old tables under workers that go on; what a SQLite file has of that is its one writer's lock.


@pytest.fixture
def old(postgres_url: str) -> Iterator[Store]:
    """A store on PostgreSQL with tables of the version before."""
    database = open_database(postgres_url)
    make_of_version(database, BEFORE)
    with database.begin() as conn:
        conn.execute(text("INSERT INTO milepost_store (id) VALUES ('of old')"))
    yield Store(database, TurnedClock())
    database.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as made:
        yield made


def run_a_job(store: Store) -> None:
    job = store.start()
    assert store.settle(job, Completed("1")) is JobState.COMPLETED


def invalid_indexes(database: Database) -> int:
    with database.read() as conn:
        found = conn.execute(text("SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
        return int(found.scalar_one())


def index_of(database: Database, name: str) -> int:
    with database.read() as conn:
        return int(conn.execute(text(f"SELECT CAST('{name}' AS regclass)::oid")).scalar_one())


def waits(database: Database, part: str) -> bool:
    """Whether some statement waits for a lock, or for the end of a transaction."""
    with database.read() as conn:
        found = conn.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database() AND query LIKE :part"
            ),
            {"part": f"%{part}%"},
        )
        return found.scalar_one() > 0


def test_jobs_go_on_while_an_index_is_made_and_waits_for_a_writer(
    old: Store, threads: ThreadPoolExecutor
) -> None:
    with old.database.begin() as conn:
        jobs.submit(conn, old.clock, [job_request()])
        migrating = threads.submit(schema.migrate, old.database)
        until(lambda: waits(old.database, "CREATE INDEX"), "the migration to wait")
        for _ in range(20):
            run_a_job(old)
        assert migrating.running()
        assert version(old.database) == BEFORE
    assert migrating.result(30) == BEFORE
    assert version(old.database) == schema.HEAD
    run_a_job(old)


def test_a_change_that_cannot_lock_its_table_lets_others_go_first(
    old: Store, threads: ThreadPoolExecutor
) -> None:
    with old.database.read() as conn:
        conn.execute(text("SELECT * FROM milepost_store"))
        migrating = threads.submit(schema.migrate, old.database)
        until(lambda: waits(old.database, "ALTER TABLE milepost_store"), "the migration to wait")
        # It would wait for the ALTER TABLE, and that for the transaction around this.
        with old.database.read() as other:
            assert reading.store_id(other) == "of old"
        assert migrating.running()
        made = index_of(old.database, "milepost_jobs_kinds")
    assert migrating.result(30) == BEFORE
    assert version(old.database) == schema.HEAD
    assert oldest_program(old.database) == schema.OLDEST_PROGRAM
    assert index_of(old.database, "milepost_jobs_kinds") == made


def test_a_migration_that_fails_leaves_no_lock_and_no_setting(
    old: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_MIGRATE_PATIENCE", timedelta(seconds=1))
    with old.database.read() as conn:
        conn.execute(text("SELECT * FROM milepost_store"))
        with pytest.raises(StoreError, match="stand at version 0013: .* pg_stat_activity"):
            schema.migrate(old.database)
    with old.database.read() as conn:
        assert conn.exec_driver_sql("SHOW lock_timeout").scalar() == "0"
    assert schema.migrate(old.database) == "0013"


def test_a_migration_that_was_killed_goes_on_where_it_was(old: Store, postgres_url: str) -> None:
    with old.database.begin() as conn:
        jobs.submit(conn, old.clock, [job_request()])
        killed = subprocess.Popen(
            [sys.executable, "-c", MIGRATE, postgres_url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert killed.stdin is not None
        killed.stdin.write("now\n")
        killed.stdin.flush()
        until(lambda: waits(old.database, "CREATE INDEX"), "the migration to wait")
        killed.kill()
        killed.communicate(timeout=30)
        assert invalid_indexes(old.database) == 1
    assert schema.migrate(old.database) == BEFORE
    assert invalid_indexes(old.database) == 0
    assert version(old.database) == schema.HEAD


def test_workers_that_migrate_at_once_on_old_tables_take_turns(
    old: Store, threads: ThreadPoolExecutor
) -> None:
    migrating = [threads.submit(schema.migrate, old.database) for _ in range(3)]
    assert BEFORE in {each.result(60) for each in migrating} <= {BEFORE, "0013", schema.HEAD}
    assert version(old.database) == schema.HEAD
    run_a_job(old)


def test_a_folder_with_a_percent_sign_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "100%s"
    folder.mkdir()
    database = open_database(str(folder / "store.db"))
    schema.migrate(database)
    assert version(database) == schema.HEAD
    database.close()
