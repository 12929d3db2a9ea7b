"""Deletes history past its time."""

from datetime import timedelta
from typing import Final

from milepost.jobs.limits import LONGEST_PER
from milepost.jobs.states import JobState
from milepost.store import limits, pruning
from milepost.store.database import Database

MOST_AT_ONCE: Final = 500
# No rate is for longer.
FORGET_LIMITS_AFTER: Final = LONGEST_PER + timedelta(days=1)
FORGET_WORKERS_AFTER: Final = timedelta(days=7)


class Pruner:
    """Small transactions, one after the other, until nothing is past its time."""

    def __init__(
        self, database: Database, *, completed_for: timedelta, failed_for: timedelta
    ) -> None:
        self._database = database
        self._keep_for = {
            JobState.COMPLETED: completed_for,
            JobState.FAILED: failed_for,
            JobState.CANCELLED: failed_for,
        }

    async def tick(self) -> None:
        """Prune what there is to prune."""
        clock = self._database.clock
        while (
            await self._database.run(
                pruning.prune, clock, keep_for=self._keep_for, limit=MOST_AT_ONCE
            )
            == MOST_AT_ONCE
        ):
            pass
        await self._database.run(pruning.forget_workers, clock, keep_for=FORGET_WORKERS_AFTER)
        await self._database.run(limits.forget, clock, keep_for=FORGET_LIMITS_AFTER)
