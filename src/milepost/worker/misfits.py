"""Jobs that do not fit this worker's definitions: left for newer workers, for a while."""

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from milepost.jobs.leases import ClaimedJob, JobId, Settlement
from milepost.jobs.outcomes import Failed, Misfit
from milepost.store import attempts
from milepost.store.database import Database

MOST_REMEMBERED: Final = 10_000
FIRST_WAIT: Final = timedelta(seconds=1)
LONGEST_WAIT: Final = timedelta(seconds=30)


@dataclass(slots=True)
class _Met:
    """Since when, and from which attempt on, this worker has met a job; and the last time."""

    first: int
    since: float
    last: int
    at: float
    times: int = 1

    def wait(self) -> timedelta:
        # Doubled no more often than it takes: a timedelta has an end.
        return min(FIRST_WAIT * (1 << min(self.times - 1, 10)), LONGEST_WAIT)


class Misfits:
    """Remembers when it first met each, and says what their attempts lead to."""

    def __init__(self, database: Database, *, leave_for: timedelta) -> None:
        self._database = database
        self._leave_for = leave_for
        # The one that was not met for the longest time comes first.
        self._met: dict[JobId, _Met] = {}

    async def settlement(self, job: ClaimedJob, misfit: Misfit) -> Settlement:
        """Leave a job for a newer worker, or fail it when none has taken it for long.

        Asked again about the same attempt it says the same.
        """
        if not self._leave_for:
            return Settlement(job, Failed(misfit.error, recoverable=False))
        met = self._meet(job)
        if met is None:
            return Settlement(job, misfit, LONGEST_WAIT)
        if met.at - met.since < self._leave_for.total_seconds():
            return Settlement(job, misfit, met.wait())
        # A newer worker may have had it in between, for as long as it liked.
        if await self._database.query(attempts.only_misfits, job.lease.job_id, since=met.first):
            why = f"{misfit.error}; left for a newer worker for {self._leave_for}, none took it"
            return Settlement(job, Failed(why, recoverable=False))
        self._met[job.lease.job_id] = again = _Met(job.lease.attempt, met.at, met.last, met.at)
        return Settlement(job, misfit, again.wait())

    def forget(self, job_id: JobId) -> None:
        """Forget a job that fits after all, or has ended."""
        self._met.pop(job_id, None)

    def _meet(self, job: ClaimedJob) -> _Met | None:
        """Note the meeting; None where there is no room to remember it."""
        (job_id, attempt), now = job.lease, time.monotonic()
        met = self._met.pop(job_id, None)
        if met is None:
            if not self._has_room(now):
                return None
            met = _Met(attempt, now, attempt, now)
        elif met.last != attempt:
            met.last, met.at, met.times = attempt, now, met.times + 1
        self._met[job_id] = met
        return met

    def _has_room(self, now: float) -> bool:
        """Whether one more can be remembered, if need be for one that others have long taken.

        Not for one that comes again and again: of too many that do so, none would ever fail.
        """
        if len(self._met) < MOST_REMEMBERED:
            return True
        oldest, met = next(iter(self._met.items()))
        if now - met.at < (self._leave_for + LONGEST_WAIT).total_seconds():
            return False
        del self._met[oldest]
        return True
