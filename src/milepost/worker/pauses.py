"""Sees which queues and kinds rest."""

from sqlalchemy import Connection

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
        quotas = self._quotas
        quotas.paused, quotas.paused_kinds = await self._database.query(_paused)


def _paused(conn: Connection) -> tuple[frozenset[str], frozenset[str]]:
    return pauses.paused(conn), pauses.kinds(conn)
