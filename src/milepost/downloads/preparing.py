"""What is done of pages before their turn to be written comes."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from milepost.connectors import Page, Record
from milepost.snapshots import Prepared, Preparer, TableSpec, destination_of
from milepost.store.database import Database


@dataclass(frozen=True, slots=True)
class Batch:
    """The pages of one commit."""

    pages: Sequence[Page]
    records: Sequence[Record]
    prepared: Prepared | None


class Preparing:
    """Prepares the pages of one table, once it is known how they are to be written."""

    def __init__(self) -> None:
        self._preparer: Preparer | None = None

    def begin(self, table: TableSpec, database: Database) -> None:
        """Prepare the pages that follow, for a table in a database."""
        if self._preparer is None:
            self._preparer = Preparer(table, destination_of(database.engine))

    async def prepare(self, pages: Sequence[Page]) -> Batch:
        """Prepare pages in a thread: what is written meanwhile waits for its database mostly."""
        records = _records(pages)
        if self._preparer is None:
            return Batch(pages, records, None)
        return Batch(pages, records, await asyncio.to_thread(self._preparer.prepare, records))

    async def pass_on(self, batched: AsyncGenerator[list[Page]]) -> AsyncGenerator[Batch]:
        """Prepare nothing."""
        async for pages in batched:
            yield Batch(pages, _records(pages), None)


def _records(pages: Sequence[Page]) -> list[Record]:
    return [record for page in pages for record in page.records]
