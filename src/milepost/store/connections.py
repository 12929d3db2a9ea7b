"""Sources by name, as the store keeps them: what is secret comes here encrypted."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from milepost.store.clock import Clock
from milepost.store.tables import connections
from milepost.store.upserts import insert_into


@dataclass(frozen=True, slots=True)
class StoredConnection:
    """A row. `source` is JSON; `credentials` is encrypted, or None where there are none."""

    name: str
    source: str
    credentials: str | None
    created_at: datetime
    updated_at: datetime


def add(conn: Connection, clock: Clock, name: str, source: str, credentials: str | None) -> bool:
    """Store a new connection; False where the name is taken."""
    insert = insert_into(conn.dialect.name, connections)
    added = conn.execute(
        insert.values(
            name=name, source=source, credentials=credentials,
            created_at=clock.now(), updated_at=clock.now(),
        ).on_conflict_do_nothing().returning(connections.c.name)
    )  # fmt: skip
    return added.one_or_none() is not None


def replace(
    conn: Connection, clock: Clock, name: str, source: str, credentials: str | None
) -> bool:
    """Put another source and other credentials under a name; False where there is no such name."""
    replaced = conn.execute(
        update(connections)
        .where(connections.c.name == name)
        .values(source=source, credentials=credentials, updated_at=clock.now())
    )
    return replaced.rowcount > 0


def find(conn: Connection, name: str, *, to_write: bool = False) -> StoredConnection | None:
    """Read a connection; with `to_write` nobody else changes it until the transaction ends."""
    query = select(connections).where(connections.c.name == name)
    row = conn.execute(query.with_for_update() if to_write else query).one_or_none()
    return None if row is None else _read(row)


def listed(conn: Connection) -> list[StoredConnection]:
    """Read all connections, in the order of their names."""
    return [_read(row) for row in conn.execute(select(connections).order_by(connections.c.name))]


def remove(conn: Connection, name: str) -> bool:
    """Delete a connection; False where there is none."""
    return conn.execute(delete(connections).where(connections.c.name == name)).rowcount > 0


def reencrypt(conn: Connection, change: Callable[[str, str], str | None]) -> int:
    """Put `change(name, credentials)` in the place of all credentials; returns of how many."""
    rows = conn.execute(
        select(connections.c.name, connections.c.credentials)
        .where(connections.c.credentials.is_not(None))
        .order_by(connections.c.name)
        .with_for_update()
    ).all()
    for name, credentials in rows:
        conn.execute(
            update(connections)
            .where(connections.c.name == name)
            .values(credentials=change(name, credentials))
        )
    return len(rows)


def _read(row: Row[Any]) -> StoredConnection:
    return StoredConnection(row.name, row.source, row.credentials, row.created_at, row.updated_at)
