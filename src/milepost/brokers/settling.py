"""What every broker does to settle: the store first, in one transaction, and who waits is told."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from milepost.brokers.moving import announce
from milepost.jobs.leases import ClaimedJob, Lease, Settlement
from milepost.jobs.limits import read_lane
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
    for queue in {
        queue for s in settlements for queue in _has_more(s.job, states.get(s.job.lease))
    }:
        signals.announce(conn, Signal(Topic.AVAILABLE, queue))
    announce(conn, signals, moved)
    return states


def _has_more(job: ClaimedJob, state: JobState | None) -> Sequence[str | None]:
    """In which queue something may begin now; None: in any."""
    if job.lane and read_lane(job.lane).shared:
        return [None]
    # Where limits hold or turns are taken, its end may let another begin.
    return [job.queue] if state is JobState.AVAILABLE or job.steered else []
