"""Queues and kinds that rest: what runs goes on, and nothing else of them begins."""

import contextlib

from sqlalchemy import Column, Connection, Table, delete, insert, select
from sqlalchemy.exc import IntegrityError

from milepost.store.clock import Clock
from milepost.store.tables import paused_kinds, paused_queues


def pause(conn: Connection, clock: Clock, queue: str) -> None:
    """Let no job of a queue begin. What is paused already stays so."""
    _pause(conn, clock, paused_queues.c.queue, queue)


def resume(conn: Connection, queue: str) -> None:
    """Let the jobs of a queue begin again."""
    conn.execute(delete(paused_queues).where(paused_queues.c.queue == queue))


def paused(conn: Connection) -> frozenset[str]:
    """Say which queues rest."""
    return frozenset(conn.execute(select(paused_queues.c.queue)).scalars())


def pause_kind(conn: Connection, clock: Clock, kind: str) -> None:
    """Let no job of a kind begin, whatever its queue. What is paused already stays so."""
    _pause(conn, clock, paused_kinds.c.kind, kind)


def resume_kind(conn: Connection, kind: str) -> None:
    """Let the jobs of a kind begin again."""
    conn.execute(delete(paused_kinds).where(paused_kinds.c.kind == kind))


def kinds(conn: Connection) -> frozenset[str]:
    """Say which kinds rest."""
    return frozenset(conn.execute(select(paused_kinds.c.kind)).scalars())


def _pause(conn: Connection, clock: Clock, column: Column[str], name: str) -> None:
    table = column.table
    assert isinstance(table, Table)  # noqa: S101 (for the type checker)
    # Two may pause it at once.
    with contextlib.suppress(IntegrityError), conn.begin_nested():
        conn.execute(insert(table).values({column.name: name, "paused_at": clock.now()}))
