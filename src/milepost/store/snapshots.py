"""Snapshots by name, as the store keeps them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from milepost.store.clock import Clock
from milepost.store.tables import snapshots
from milepost.store.upserts import insert_into


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A row. `described` is JSON."""

    name: str
    described: str
    created_at: datetime
    updated_at: datetime


def add(conn: Connection, clock: Clock, name: str, described: str) -> bool:
    """Store a new snapshot; False where the name is taken."""
    insert = insert_into(conn.dialect.name, snapshots)
    now = clock.now()
    added = conn.execute(
        insert.values(name=name, described=described, created_at=now, updated_at=now)
        .on_conflict_do_nothing()
        .returning(snapshots.c.name)
    )
    return added.one_or_none() is not None


def replace(conn: Connection, clock: Clock, name: str, described: str) -> bool:
    """Describe a snapshot anew; False where there is none of that name."""
    replaced = conn.execute(
        update(snapshots)
        .where(snapshots.c.name == name)
        .values(described=described, updated_at=clock.now())
    )
    return replaced.rowcount > 0


def find(conn: Connection, name: str) -> StoredSnapshot | None:
    """Read a snapshot."""
    row = conn.execute(select(snapshots).where(snapshots.c.name == name)).one_or_none()
    return None if row is None else _read(row)


def listed(conn: Connection) -> list[StoredSnapshot]:
    """Read all snapshots, in the order of their names."""
    return [_read(row) for row in conn.execute(select(snapshots).order_by(snapshots.c.name))]


def remove(conn: Connection, name: str) -> bool:
    """Forget a snapshot; False where there is none."""
    return conn.execute(delete(snapshots).where(snapshots.c.name == name)).rowcount > 0


def _read(row: Row[Any]) -> StoredSnapshot:
    return StoredSnapshot(row.name, row.described, row.created_at, row.updated_at)
