"""How every broker claims from the store: in one statement where nothing is held back."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from milepost.jobs.leases import ClaimedJob
from milepost.store import jobs, lanes
from milepost.store.database import Database
from milepost.store.lanes import Taken

# Each brings jobs, or another worker was faster.
MOST_ROUNDS: Final = 20


def claim(
    database: Database,
    *,
    queue: str,
    kinds: Sequence[str],
    limit: int,
    lease_for: timedelta,
    worker_id: str,
) -> Taken:
    """Take available jobs of a queue, on the caller's thread."""
    with database.begin() as conn:
        claimed = jobs.claim(
            conn, database.clock, queue=queue, kinds=kinds, limit=limit, lease_for=lease_for,
            worker_id=worker_id,
        )  # fmt: skip
        if claimed or not jobs.is_steered(conn, queue):
            return Taken(claimed)
    return claim_steered(
        database, queue=queue, kinds=kinds, limit=limit, lease_for=lease_for, worker_id=worker_id
    )


def claim_steered(
    database: Database,
    *,
    queue: str,
    kinds: Sequence[str],
    limit: int,
    lease_for: timedelta,
    worker_id: str,
) -> Taken:
    """Take jobs of a queue where limits hold or turns are taken, in as many rounds as it needs."""
    claimed: list[ClaimedJob] = []
    for _ in range(MOST_ROUNDS):
        try:
            with database.begin() as conn:
                taken = lanes.claim(
                    conn, database.clock, queue=queue, kinds=kinds, limit=limit - len(claimed),
                    lease_for=lease_for, worker_id=worker_id,
                )  # fmt: skip
        except Exception:
            if claimed:
                # They are committed, and must begin.
                return Taken(claimed)
            raise
        claimed += taken.jobs
        if not taken.again:
            return Taken(claimed, opens_in=taken.opens_in)
    return Taken(claimed, opens_in=timedelta(0))
