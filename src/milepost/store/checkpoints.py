"""Checkpoints: the position to resume from, committed with the data, fenced by the attempt."""

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, bindparam, case, delete, func, select, update

from milepost.errors import LeaseLost
from milepost.jobs.leases import HeldLease, Lease
from milepost.jobs.states import JobState
from milepost.store.clock import Clock
from milepost.store.tables import checkpoints, destination_metadata, jobs
from milepost.store.upserts import insert_into

# Any number that other programs are unlikely to lock too.
_CREATE_LOCK = 6_453_707_832

# What a store keeps in a database that holds data. Nobody is told there when a job has ended, or
# that its store was thrown away; so a job that nobody runs for this long begins anew.
KEEP_FOR: Final = timedelta(days=90)
_PRUNED_AT_ONCE: Final = 500

_SAVE: Final = (
    update(jobs)
    .where(
        jobs.c.id == bindparam("job"),
        jobs.c.attempt == bindparam("fence"),
        jobs.c.state == JobState.RUNNING,
    )
    .values(
        checkpoint=bindparam("saved"),
        # Saving what is there already is no step forward: a job that does so and then kills its
        # worker would go round for ever. The texts are compared only where somebody has died.
        rescues=case(
            (and_(jobs.c.rescues > 0, jobs.c.checkpoint == bindparam("saved")), jobs.c.rescues),
            else_=0,
        ),
    )
    .returning(jobs.c.cancel_requested_at, jobs.c.cancel_reason)
)


def save(conn: Connection, lease: Lease, checkpoint: str) -> HeldLease:
    """Save a checkpoint in the store, in the caller's transaction.

    Raises LeaseLost, which rolls back the data written beside it.
    """
    held = conn.execute(
        _SAVE, {"job": lease.job_id, "fence": lease.attempt, "saved": checkpoint}
    ).one_or_none()
    if held is None:
        raise LeaseLost(_lost(lease))
    return _held(lease, held)


def find(conn: Connection, lease: Lease) -> tuple[str | None, HeldLease]:
    """Read what a running attempt has saved. Raises LeaseLost."""
    held = conn.execute(
        select(jobs.c.checkpoint, jobs.c.cancel_requested_at, jobs.c.cancel_reason).where(
            jobs.c.id == lease.job_id,
            jobs.c.attempt == lease.attempt,
            jobs.c.state == JobState.RUNNING,
        )
    ).one_or_none()
    if held is None:
        raise LeaseLost(_lost(lease))
    return held.checkpoint, _held(lease, held)


def _held(lease: Lease, row: Row[Any, Any, Any]) -> HeldLease:
    at = row.cancel_requested_at
    return HeldLease(lease, at is not None, row.cancel_reason, at)


def prepare(conn: Connection) -> None:
    """Make the checkpoint table in a database that holds data."""
    if conn.dialect.name == "postgresql":
        # CREATE TABLE IF NOT EXISTS is no guard against another one at the same moment.
        conn.execute(select(func.pg_advisory_xact_lock(_CREATE_LOCK)))
    destination_metadata.create_all(conn)


def take_over(conn: Connection, clock: Clock, store_id: str, lease: Lease) -> str | None:
    """Begin an attempt in the database that holds its data; returns the last checkpoint there.

    From here on an older attempt's `save_beside` matches no row. What this store left there for
    jobs of long ago goes. Raises LeaseLost where a newer attempt was here first.
    """
    taken = conn.execute(
        insert_into(conn.dialect.name, checkpoints)
        .values(
            store_id=store_id, job_id=lease.job_id, attempt=lease.attempt,
            saved_at=clock.now(),
        )
        .on_conflict_do_update(
            index_elements=[checkpoints.c.store_id, checkpoints.c.job_id],
            set_={"attempt": lease.attempt, "saved_at": clock.now()},
            where=checkpoints.c.attempt <= lease.attempt,
        )
        .returning(checkpoints.c.checkpoint)
    ).one_or_none()  # fmt: skip
    if taken is None:
        raise LeaseLost(_lost(lease))
    _prune(conn, clock, store_id)
    stored: str | None = taken.checkpoint
    return stored


def save_beside(
    conn: Connection, clock: Clock, store_id: str, lease: Lease, checkpoint: str
) -> None:
    """Save a checkpoint in the database that holds the data, in the caller's transaction.

    Raises LeaseLost, which rolls back the data written beside it.
    """
    held = conn.execute(
        update(checkpoints)
        .where(
            checkpoints.c.store_id == store_id,
            checkpoints.c.job_id == lease.job_id,
            checkpoints.c.attempt == lease.attempt,
        )
        .values(checkpoint=checkpoint, saved_at=clock.now())
    )
    if held.rowcount == 0:
        raise LeaseLost(_lost(lease))


def find_beside(conn: Connection, store_id: str, lease: Lease) -> str | None:
    """Read what an attempt has saved in the database that holds its data. Raises LeaseLost."""
    held = conn.execute(
        select(checkpoints.c.checkpoint).where(
            checkpoints.c.store_id == store_id,
            checkpoints.c.job_id == lease.job_id,
            checkpoints.c.attempt == lease.attempt,
        )
    ).one_or_none()
    if held is None:
        raise LeaseLost(_lost(lease))
    stored: str | None = held.checkpoint
    return stored


def _prune(conn: Connection, clock: Clock, store_id: str) -> None:
    # Others take over at the same moment: they neither wait here nor meet in a deadlock.
    old = conn.scalars(
        select(checkpoints.c.job_id)
        .where(checkpoints.c.store_id == store_id, checkpoints.c.saved_at < clock.now(-KEEP_FOR))
        .limit(_PRUNED_AT_ONCE)
        .with_for_update(skip_locked=True)
    ).all()
    if old:
        conn.execute(
            delete(checkpoints).where(
                checkpoints.c.store_id == store_id, checkpoints.c.job_id.in_(old)
            )
        )


def _lost(lease: Lease) -> str:
    return (
        f"{lease} no longer holds its lease: a newer attempt has taken the job over, or it has "
        "ended; this write was rolled back"
    )
