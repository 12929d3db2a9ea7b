"""Queues that rest: what runs goes on, and nothing else of them begins."""

import contextlib

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from milepost.store.clock import Clock
from milepost.store.tables import paused_queues


def pause(conn: Connection, clock: Clock, queue: str) -> None:
    """Let no job of a queue begin. What is paused already stays so."""
    # Two may pause it at once.
    with contextlib.suppress(IntegrityError), conn.begin_nested():
        conn.execute(insert(paused_queues).values(queue=queue, paused_at=clock.now()))


def resume(conn: Connection, queue: str) -> None:
    """Let the jobs of a queue begin again."""
    conn.execute(delete(paused_queues).where(paused_queues.c.queue == queue))


def paused(conn: Connection) -> frozenset[str]:
    """Say which queues rest."""
    return frozenset(conn.execute(select(paused_queues.c.queue)).scalars())
