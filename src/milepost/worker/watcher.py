"""Looks for workers that nobody hears of any more, and for queues that wait too long."""

from datetime import timedelta
from typing import Final

from milepost.store import notices, watches
from milepost.store.database import Database

# A worker is seen three times in a lease. Far longer than any lease should be late.
GONE_AFTER: Final = timedelta(minutes=2)
STILL_LATE_AFTER: Final = timedelta(seconds=30)


class Watcher:
    """Notes both once, whichever worker finds them first."""

    def __init__(
        self,
        database: Database,
        *,
        late_after: timedelta,
        gone_after: timedelta = GONE_AFTER,
        still_late_after: timedelta = STILL_LATE_AFTER,
    ) -> None:
        self._database = database
        self._late_after = late_after
        self._gone_after = gone_after
        self._still_late_after = still_late_after

    async def tick(self) -> None:
        """Look once. Where nobody wants to be told, queues are not looked at."""
        database, clock = self._database, self._database.clock
        if await database.query(watches.any_gone, clock, unseen_for=self._gone_after):
            await database.run(watches.of_gone_workers, clock, unseen_for=self._gone_after)
        if await database.query(notices.any_wanted):
            await database.run(
                watches.of_late_queues, clock,
                longer_than=self._late_after, still_after=self._still_late_after,
            )  # fmt: skip
