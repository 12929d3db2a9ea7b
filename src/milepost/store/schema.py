"""Brings the store's tables to this version, or says that they are not."""

from pathlib import Path
from typing import Final
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

from milepost.errors import StoreOutdated
from milepost.store.database import Database
from milepost.store.tables import identity, metadata

# The newest file in migrations/versions; a test holds them together. A constant, so that a
# start with nothing to migrate need not load Alembic.
HEAD: Final = "0012"
VERSION_TABLE: Final = "milepost_version"
_MIGRATE_LOCK: Final = 6_453_707_831


def version(conn: Connection) -> str | None:
    """Which migration the tables stand at; None: there are none yet."""
    if not inspect(conn).has_table(VERSION_TABLE):
        return None
    found: str | None = conn.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return found


def migrate(database: Database) -> str | None:
    """Make or update the tables; returns the version they had. Safe in many processes at once."""
    with database.read() as conn:
        before = version(conn)
    if before == HEAD:
        return before
    if before is not None and before > HEAD:
        raise StoreOutdated(_differs(database, before))
    with database.begin() as conn:
        # SQLite's BEGIN IMMEDIATE has let only one in already.
        if not database.is_sqlite:
            conn.execute(select(func.pg_advisory_xact_lock(_MIGRATE_LOCK)))
        found = version(conn)
        if found is None:
            _create(conn)
        elif found != HEAD:
            upgrade(conn)
        if conn.execute(select(identity.c.id)).scalar() is None:
            conn.execute(insert(identity).values(id=str(uuid4())))
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
        found = version(conn)
    if found != HEAD:
        raise StoreOutdated(_differs(database, found))


def _differs(database: Database, found: str | None) -> str:
    has = "no Milepost tables" if found is None else f"tables of version {found}"
    newer = found is not None and found > HEAD
    do = "a newer Milepost made them, install that" if newer else "run `milepost migrate`"
    return f"{database.url} has {has}, this program needs version {HEAD}: {do}"


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


def upgrade(conn: Connection) -> None:
    """Run the migrations that a store has not had yet."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    # Alembic reads % in options as interpolation.
    folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    command.upgrade(config, "head")
