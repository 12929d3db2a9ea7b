"""Sees which queues rest."""

from milepost.store import pauses
from milepost.store.database import Database
from milepost.worker.quotas import Quotas


class Pauses:
    """Looks from time to time: a signal would be one more thing that could get lost."""

    def __init__(self, quotas: Quotas, database: Database) -> None:
        self._quotas = quotas
        self._database = database

    async def tick(self) -> None:
        """Look once."""
        self._quotas.paused = await self._database.query(pauses.paused)
