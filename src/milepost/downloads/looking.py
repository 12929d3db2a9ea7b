"""What a named snapshot holds, read from its destination."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from milepost import snapshots
from milepost.connectors import Secrets
from milepost.downloads.destinations import destination
from milepost.downloads.named import NamedSnapshot
from milepost.snapshots import TableSummary
from milepost.store.database import open_database


@contextmanager
def opened(named: NamedSnapshot, secrets: Secrets) -> Iterator[Connection]:
    """Open the database of a snapshot, in one transaction."""
    database = open_database(destination(named.described.into, secrets), threads=1)
    try:
        with database.begin() as conn:
            yield conn
    finally:
        database.close()


def tables_of(named: NamedSnapshot, secrets: Secrets) -> list[TableSummary]:
    """Read what tables there are by now. Raises SnapshotError or StoreError."""
    with opened(named, secrets) as conn:
        wanted = named.described.tables
        found = snapshots.list_tables(conn)
        return [table for table in found if not wanted or table.name in wanted]


def rows_of(
    named: NamedSnapshot, secrets: Secrets, table: str, *, limit: int, deleted: bool = False
) -> list[dict[str, Any]]:
    """Read the first rows of a table. Raises SnapshotError or StoreError."""
    with opened(named, secrets) as conn:
        return snapshots.read_rows(conn, table, limit=limit, deleted=deleted)
