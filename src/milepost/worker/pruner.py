"""Deletes what has been kept enough of the history."""

from datetime import timedelta
from typing import Final

from milepost.jobs.limits import LONGEST_PER
from milepost.jobs.registry import Registry
from milepost.jobs.retention import Keep
from milepost.jobs.states import JobState
from milepost.settings import WorkerSettings
from milepost.store import limits, pruning, retention
from milepost.store.database import Database

# No rate is for longer.
FORGET_LIMITS_AFTER: Final = LONGEST_PER + timedelta(days=1)
FORGET_WORKERS_AFTER: Final = timedelta(days=7)


class Pruner:
    """Small transactions, one after the other, until nothing has been kept enough."""

    def __init__(self, database: Database, registry: Registry, settings: WorkerSettings) -> None:
        self._database = database
        # A kind that another program runs may be kept by a rule too; here it only lacks a handler.
        self._rules = {
            each.kind: each.retention for each in registry if each.runs_here or each.retention
        }
        failed = Keep(settings.keep_failed_for, settings.keep_failed_count or None)
        self._defaults = {
            JobState.COMPLETED: Keep(
                settings.keep_completed_for, settings.keep_completed_count or None
            ),
            JobState.FAILED: failed,
            JobState.CANCELLED: failed,
        }

    async def tick(self) -> None:
        """Prune what there is to prune."""
        database, clock = self._database, self._database.clock
        if await database.query(retention.differ, self._rules):
            await database.run(retention.declare, clock, self._rules)
        for past in await database.query(pruning.look, clock, self._defaults):
            pruned = await database.run(pruning.prune, clock, past)
            while pruned.last is not None:
                pruned = await database.run(pruning.prune, clock, past, after=pruned.last)
        await database.run(pruning.forget_workers, clock, keep_for=FORGET_WORKERS_AFTER)
        await database.run(limits.forget, clock, keep_for=FORGET_LIMITS_AFTER)
