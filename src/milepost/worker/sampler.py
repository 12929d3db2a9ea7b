"""Notes how long the queues are, for the charts."""

from sqlalchemy import Connection

from milepost.store import samples
from milepost.store.database import Database


class Sampler:
    """Any number of them may run: of a minute the first one's sample is kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tick(self) -> None:
        """Take this minute's sample, unless there is one, and forget the oldest."""
        await self._database.run(self._sample)

    def _sample(self, conn: Connection) -> None:
        if samples.take(conn, self._database.clock):
            samples.forget(conn, self._database.clock)
