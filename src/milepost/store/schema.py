"""Brings the store's tables to this version, or says that they are not."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    func,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import OperationalError

from milepost.errors import StoreError, StoreOutdated
from milepost.store.database import Database
from milepost.store.tables import identity, metadata

# The newest file in migrations/versions; a test holds them together. A constant, so that a
# start with nothing to migrate need not load Alembic.
HEAD: Final = "0014"
# Programs of this version still work on these tables; the migrations write it into the store.
OLDEST_PROGRAM: Final = "0014"
VERSION_TABLE: Final = "milepost_version"
_MIGRATE_LOCK: Final = 6_453_707_831
# Milliseconds. While a change waits for the lock of a table, all who come later wait for it: so it
# gives up soon, and lets them pass for longer each time.
LOCK_PATIENCE: Final = 300
_FIRST_REST: Final = 0.5
_LONGEST_REST: Final = 10.0
_MIGRATE_PATIENCE: Final = timedelta(minutes=10)
# lock_not_available and deadlock_detected.
_IN_THE_WAY: Final = ("55P03", "40P01")


def version(conn: Connection) -> str | None:
    """Which migration the tables stand at; None: there are none yet."""
    if not inspect(conn).has_table(VERSION_TABLE):
        return None
    found: str | None = conn.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return found


class Misfit(NamedTuple):
    """Why a program cannot work on the tables, and what to do."""

    reason: str
    todo: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.todo}"


def misfit(conn: Connection) -> Misfit | None:
    """Say why this program cannot work on the tables; None: it can.

    It can on those of its own version, and on newer ones that still serve it.
    """
    found = version(conn)
    if found is not None and found > HEAD:
        oldest: str | None = conn.execute(select(identity.c.oldest_program)).scalar()
        if oldest is not None and oldest <= HEAD:
            return None
    if found == HEAD:
        return None
    has = "there are no Milepost tables" if found is None else f"the tables are of version {found}"
    newer = found is not None and found > HEAD
    do = "a newer Milepost made them, install that" if newer else "run `milepost migrate`"
    return Misfit(f"{has}, this program needs version {HEAD}", do)


def migrate(database: Database) -> str | None:
    """Make or update the tables; returns the version they had. Safe in many processes at once.

    On PostgreSQL jobs go on meanwhile. Raises StoreOutdated where a newer program made the
    tables, and StoreError where others hold one of them for too long.
    """
    with database.read() as conn:
        before, wrong = version(conn), misfit(conn)
    if before is None or (wrong and database.is_sqlite):
        with database.begin() as conn:
            _make(conn)
            wrong = misfit(conn)
    if wrong and not database.is_sqlite:
        wrong = _upgrade_beside_others(database)
    if wrong:
        raise StoreOutdated(f"{database.url}: {wrong}")
    return before


def ensure(database: Database) -> None:
    """Let a program start: migrate SQLite by itself, ask for it on PostgreSQL.

    Raises StoreOutdated. PostgreSQL is somebody's server, and a rolling deployment should not
    change its tables as a side effect of starting.
    """
    if database.is_sqlite:
        migrate(database)
        return
    with database.read() as conn:
        wrong = misfit(conn)
    if wrong:
        raise StoreOutdated(f"{database.url}: {wrong}")


def _make(conn: Connection) -> None:
    # SQLite's BEGIN IMMEDIATE has let only one in already.
    if conn.dialect.name == "postgresql":
        conn.execute(select(func.pg_advisory_xact_lock(_MIGRATE_LOCK)))
    found = version(conn)
    if found is None:
        _create(conn)
    elif found < HEAD and conn.dialect.name == "sqlite":
        upgrade(conn)
    _name(conn)


def _name(conn: Connection) -> None:
    """Give a store the name that it is told by, where it has none."""
    if conn.execute(select(identity.c.id)).scalar() is None:
        conn.execute(insert(identity).values(id=str(uuid4()), oldest_program=OLDEST_PROGRAM))


def _upgrade_beside_others(database: Database) -> Misfit | None:
    """Run the migrations on PostgreSQL while jobs are submitted and run; returns what is wrong."""
    with database.connect() as guard, database.connect() as conn:
        try:
            guard.execution_options(isolation_level="AUTOCOMMIT")
            # Asked for again and again: a statement that waits would be in the way of an index
            # that is made beside others, which waits for all statements that are older.
            while not guard.execute(select(func.pg_try_advisory_lock(_MIGRATE_LOCK))).scalar():
                time.sleep(_FIRST_REST)
            _upgrade(conn)
            with conn.begin():
                wrong = misfit(conn)
                if wrong is None:
                    _name(conn)
            return wrong
        finally:
            # They go back to the pool, and must not keep what was set, nor the lock.
            conn.invalidate()
            guard.invalidate()


def _upgrade(conn: Connection) -> None:
    """Run one migration after the other, each again and again until it had its locks."""
    give_up_at = rest = 0.0
    before: str | None = ""
    while True:
        with conn.begin():
            # Another may have brought them to a version that is newer than this program's.
            found = version(conn)
            if found is not None and found >= HEAD:
                return
            conn.exec_driver_sql(f"SET lock_timeout = {LOCK_PATIENCE}")
        if found != before:
            give_up_at = time.monotonic() + _MIGRATE_PATIENCE.total_seconds()
            before, rest = found, _FIRST_REST
        try:
            upgrade(conn, "+1")
        except OperationalError as error:
            conn.rollback()
            if getattr(error.orig, "sqlstate", None) not in _IN_THE_WAY:
                raise
            if time.monotonic() > give_up_at:
                raise StoreError(
                    f"the tables stand at version {found}: for {_MIGRATE_PATIENCE} a transaction "
                    "has held a table that is to be changed; find it in pg_stat_activity, end it, "
                    "and run `milepost migrate` again, which goes on from there"
                ) from error
            time.sleep(rest)
            rest = min(2 * rest, _LONGEST_REST)


def _create(conn: Connection) -> None:
    """Make all tables at once, as the migrations would one after the other.

    A program that starts in an empty folder need not load Alembic for it.
    """
    metadata.create_all(conn, checkfirst=False)
    versions = Table(
        VERSION_TABLE,
        MetaData(),
        Column("version_num", String(32), nullable=False),
        PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
    )
    versions.create(conn)
    conn.execute(insert(versions).values(version_num=HEAD))


def upgrade(conn: Connection, to: str = "head") -> None:
    """Run the migrations that a store has not had yet."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    # Alembic reads % in options as interpolation.
    folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    command.upgrade(config, to)
