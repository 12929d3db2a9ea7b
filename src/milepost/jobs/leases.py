"""The right to run one attempt, and the job that comes with it.

Named tuples: thousands of them are made and looked up each second.
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from milepost.jobs.backoff import Backoff
from milepost.jobs.outcomes import Outcome

JobId = int
# The largest that a table holds.
LARGEST_ID: Final = 2**63 - 1


class Lease(NamedTuple):
    """Names one attempt of one job. The attempt number is the fence of everything it writes."""

    job_id: JobId
    attempt: int

    def __str__(self) -> str:
        return f"attempt {self.attempt} of job {self.job_id}"


class ClaimedJob(NamedTuple):
    """What a worker gets with a lease. `args` and `checkpoint` are JSON."""

    lease: Lease
    kind: str
    queue: str
    args: str
    checkpoint: str | None
    failures: int
    max_attempts: int
    backoff: Backoff | None
    time_limit: timedelta | None
    started_at: datetime
    broker_id: str | None = None
    run_at: datetime | None = None
    trace: str | None = None
    lane: str = ""
    # Whether its end may let another begin: under a limit, or in its turn.
    steered: bool = False

    @property
    def waited_for(self) -> timedelta:
        """How long it could have run before this attempt began."""
        return max(timedelta(0), self.started_at - (self.run_at or self.started_at))

    @property
    def attempts_left(self) -> bool:
        """Whether a failure now would leave an attempt to make."""
        return self.failures + 1 < self.max_attempts


class HeldLease(NamedTuple):
    """A lease that the store still knows, and whether its job was cancelled meanwhile."""

    lease: Lease
    cancel_requested: bool
    cancel_reason: str | None
    cancel_requested_at: datetime | None = None


class Settlement(NamedTuple):
    """One claimed job and how its attempt ended.

    `retry_after` is its wait if it failed or did not fit. If it crashed, `most_rescues` deaths in a
    row end it.
    """

    job: ClaimedJob
    outcome: Outcome
    retry_after: timedelta = timedelta(0)
    most_rescues: int = 3
