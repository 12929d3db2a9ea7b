"""The units of work of a download: plain functions that take the connection first."""

from datetime import datetime

from sqlalchemy import Connection

from milepost import snapshots
from milepost.snapshots import TableSpec


def begin(conn: Connection, table: TableSpec, begun: list[tuple[int, int]]) -> None:
    """Begin a pass; its number goes into `begun`, and how many rows it could find gone."""
    number = snapshots.begin_pass(conn, table)
    begun.append((number, snapshots.count_living(conn, table)))


def withdraw(conn: Connection, table: TableSpec, pass_number: int) -> None:
    """Take back a pass that has to begin anew."""
    snapshots.withdraw_pass(conn, table, pass_number)


def finish(
    conn: Connection, table: TableSpec, pass_number: int, at: datetime, *, twice: bool
) -> None:
    """End a complete pass: what it has not seen is gone at the source."""
    snapshots.finish_pass(conn, table, pass_number, at=at, twice=twice)


def end(
    conn: Connection, table: TableSpec, pass_number: int, at: datetime, kept: str | None
) -> None:
    """End a pass that takes no row for gone."""
    snapshots.end_pass(conn, table, pass_number, at=at, kept=kept)
