"""The units of work of a download: plain functions that take the connection first."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from milepost import snapshots
from milepost.connectors import Record
from milepost.snapshots import TableSpec


def begin(conn: Connection, table: TableSpec, begun: list[tuple[int, int]]) -> None:
    """Begin a pass; its number goes into `begun`, and how many rows it could find gone."""
    number = snapshots.begin_pass(conn, table)
    begun.append((number, snapshots.count_living(conn, table)))


def store(
    conn: Connection,
    table: TableSpec,
    records: Sequence[Record],
    pass_number: int,
    synced_at: datetime,
) -> None:
    """Store one page."""
    snapshots.write_page(conn, table, records, pass_number=pass_number, synced_at=synced_at)


def finish(
    conn: Connection, table: TableSpec, pass_number: int, at: datetime, *, twice: bool
) -> None:
    """End a complete pass: what it has not seen is gone at the source."""
    snapshots.finish_pass(conn, table, pass_number, at=at, twice=twice)
