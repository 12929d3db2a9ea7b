"""Workers that nobody hears of, and queues that wait too long: found once, whoever looks."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, and_, delete, select, update

from milepost.store import notices, pauses, reading
from milepost.store.clock import Clock
from milepost.store.tables import late_queues, workers
from milepost.store.upserts import insert_into


def any_gone(conn: Connection, clock: Clock, *, unseen_for: timedelta) -> bool:
    """Whether there are workers that nobody has heard of for so long."""
    unseen = select(workers.c.id).where(_unseen(clock, unseen_for))
    return conn.execute(unseen.limit(1)).first() is not None


def _unseen(clock: Clock, unseen_for: timedelta) -> ColumnElement[bool]:
    return and_(workers.c.stopped_at.is_(None), workers.c.seen_at < clock.now(-unseen_for))


def of_gone_workers(conn: Connection, clock: Clock, *, unseen_for: timedelta) -> list[str]:
    """Note workers as gone that nobody has heard of for so long; returns their ids."""
    gone = conn.execute(
        update(workers)
        .where(_unseen(clock, unseen_for))
        .values(stopped_at=clock.now(), running=0)
        .returning(workers.c.id, workers.c.host, workers.c.pid, workers.c.seen_at)
    ).all()
    for row in gone:
        _of_gone(conn, clock, row, f"was last seen at {row.seen_at:%Y-%m-%d %H:%M:%S} UTC")
    return [row.id for row in gone]


def of_dead_workers(conn: Connection, clock: Clock, worker_ids: Sequence[str]) -> None:
    """Note workers as gone whose processes are."""
    gone = conn.execute(
        update(workers)
        .where(workers.c.id.in_(worker_ids), workers.c.stopped_at.is_(None))
        .values(stopped_at=clock.now(), running=0)
        .returning(workers.c.id, workers.c.host, workers.c.pid)
    ).all()
    for row in gone:
        _of_gone(conn, clock, row, "ended without a word")


def _of_gone(conn: Connection, clock: Clock, worker: Any, how: str) -> None:
    detail = f"process {worker.pid} on {worker.host} {how}"
    notices.of_subject(conn, clock, notices.About.WORKER_GONE, worker.id, detail)


def of_late_queues(
    conn: Connection, clock: Clock, *, longer_than: timedelta, still_after: timedelta
) -> None:
    """Note queues whose oldest job has waited too long, once each, and those that recovered.

    Only what is still so after a while is told: workers may just have come back, and take it soon.
    Nobody waits for a queue that was paused.
    """
    now = reading.present(conn, clock)
    paused = pauses.paused(conn)
    late = {
        queue: since
        for queue, since in reading.oldest_available(conn).items()
        if now - since > longer_than and queue not in paused
    }
    known = {row.queue: row for row in conn.execute(select(late_queues).with_for_update()).all()}
    for queue in known.keys() - late.keys():
        ended = conn.execute(
            delete(late_queues).where(late_queues.c.queue == queue).returning(late_queues.c.told_at)
        ).scalar()
        if ended is not None:
            notices.of_subject(
                conn, clock, notices.About.QUEUE_RECOVERED, queue, "its jobs begin in time again",
                queue=queue,
            )  # fmt: skip
    for queue in sorted(late):
        if queue not in known:
            conn.execute(_noted(conn, clock, queue))
            continue
        told = conn.execute(
            update(late_queues)
            .where(
                late_queues.c.queue == queue,
                late_queues.c.told_at.is_(None),
                late_queues.c.since <= clock.now(-still_after),
            )
            .values(told_at=clock.now())
        )
        if told.rowcount:
            minutes = (now - late[queue]).total_seconds() / 60
            notices.of_subject(
                conn, clock, notices.About.QUEUE_LATE, queue,
                f"its oldest job has waited for {minutes:.0f} minutes", queue=queue,
            )  # fmt: skip


def _noted(conn: Connection, clock: Clock, queue: str) -> Insert:
    noted: Insert = (
        insert_into(conn.dialect.name, late_queues)
        .values(queue=queue, since=clock.now())
        .on_conflict_do_nothing()
    )
    return noted
