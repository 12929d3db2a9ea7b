"""Jobs that wait for others, as the store's tests make and read them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from milepost.jobs.leases import ClaimedJob, JobId, Lease
from milepost.jobs.outcomes import Completed, Failed, Outcome
from milepost.jobs.requests import JobRequest
from milepost.jobs.states import JobState
from milepost.store import children, families
from milepost.store.flows import Moved
from milepost.store.tables import joins
from tests.store.store import MINUTE, Store, job_request

FOR_GOOD = Failed("it broke", recoverable=False)


def join(store: Store, after: Sequence[JobId], **options: Any) -> JobId:
    """Submit a job that waits for others, to a queue of its own."""
    return store.submit(**{"queue": "joins", "after": tuple(after), **options})


def end(store: Store, job_id: JobId, outcome: Outcome | None = None) -> JobState | None:
    """Run one available job and settle it."""
    return store.settle(claim_one(store, job_id), outcome or Completed("1"))


def claim_one(store: Store, job_id: JobId) -> ClaimedJob:
    """Claim a certain job, wherever it stands in its queue."""
    from milepost.store import jobs

    with store.database.begin() as conn:
        [claimed] = jobs.claim_these(
            conn, store.clock, [job_id], kinds=[store.find(job_id).kind], lease_for=MINUTE,
            worker_id="worker-1",
        )  # fmt: skip
    return claimed


def add_children(store: Store, lease: Lease, count: int = 1, **options: Any) -> list[JobId]:
    def requests(owner: str | None) -> list[JobRequest]:
        return [job_request(**{"owner": owner, **options})] * count

    with store.database.begin() as conn:
        return children.add(conn, store.clock, lease, requests)


def stop_all(store: Store) -> Moved:
    """Do what a worker does about the children of jobs that were cancelled."""
    moved = Moved()
    while True:
        with store.database.begin() as conn:
            parents = children.stopping(conn, limit=100)
            for parent in parents:
                children.stop(conn, store.clock, parent, limit=2, moved=moved)
        if not parents:
            return moved


def counts(store: Store, job_id: JobId) -> tuple[int, int]:
    """How many children are pending, and how many are lost."""
    with store.database.read() as conn:
        return families.counts(conn, job_id)


def all_counts(store: Store) -> dict[JobId, tuple[int, int]]:
    return {row.job_id: (row.pending, row.lost) for row in store.rows(select(joins))}
