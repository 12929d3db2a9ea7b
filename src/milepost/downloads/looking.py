"""What a named snapshot holds, read from its destination."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection

from milepost import snapshots
from milepost.connectors import Secrets
from milepost.downloads.destinations import destination
from milepost.downloads.named import NamedSnapshot
from milepost.snapshots import TableSummary
from milepost.store.database import open_database

R = TypeVar("R")


def tables_of(named: NamedSnapshot, secrets: Secrets) -> list[TableSummary]:
    """Read what tables there are by now. Raises SnapshotError or StoreError."""

    def read(conn: Connection) -> list[TableSummary]:
        wanted = named.described.tables
        found = snapshots.list_tables(conn)
        return [table for table in found if not wanted or table.name in wanted]

    return _with(named, secrets, read)


def rows_of(
    named: NamedSnapshot, secrets: Secrets, table: str, *, limit: int, deleted: bool = False
) -> list[dict[str, Any]]:
    """Read the first rows of a table. Raises SnapshotError or StoreError."""
    return _with(
        named, secrets, lambda conn: snapshots.read_rows(conn, table, limit=limit, deleted=deleted)
    )


def _with(named: NamedSnapshot, secrets: Secrets, read: Callable[[Connection], R]) -> R:
    database = open_database(destination(named.described.into, secrets), threads=1)
    try:
        with database.begin() as conn:
            return read(conn)
    finally:
        database.close()
