"""What every broker does to settle: the store first, in one transaction, and who waits is told."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from milepost.brokers.moving import announce
from milepost.jobs.leases import Lease, Settlement
from milepost.jobs.states import FINAL, JobState
from milepost.signals import Signal, Signals, Topic
from milepost.store import jobs
from milepost.store.clock import Clock
from milepost.store.flows import Moved


def settle(
    conn: Connection,
    clock: Clock,
    signals: Signals,
    settlements: Sequence[Settlement],
    *,
    moved: Moved | None = None,
) -> Mapping[Lease, JobState]:
    """Record outcomes and announce them with the commit; `moved` has what is then to be sent."""
    moved = Moved() if moved is None else moved
    states = jobs.settle(conn, clock, settlements, moved=moved)
    ended = tuple(lease.job_id for lease, state in states.items() if state in FINAL)
    if ended:
        signals.announce(conn, Signal(Topic.SETTLED, job_ids=ended))
    for queue in {s.job.queue for s in settlements
                  if states.get(s.job.lease) is JobState.AVAILABLE}:  # fmt: skip
        signals.announce(conn, Signal(Topic.AVAILABLE, queue))
    announce(conn, signals, moved)
    return states
