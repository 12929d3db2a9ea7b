"""Try again to store what is in quarantine, once somebody has mended what was wrong."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from milepost.errors import RecordRejected, SnapshotError
from milepost.snapshots import ledger
from milepost.snapshots.destination import destination_of, part
from milepost.snapshots.layout import TableSpec
from milepost.snapshots.ledger import Counts
from milepost.snapshots.preparing import prepare
from milepost.snapshots.quarantine import Quarantined, read_quarantine, release
from milepost.snapshots.reading import layout_of, read_versions
from milepost.snapshots.writing import write_page

AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What came of the records in quarantine.

    `superseded`: a later pass has stored a newer version, so they were let go. `left` cannot be
    stored yet.
    """

    stored: int = 0
    superseded: int = 0
    left: int = 0


def replay(conn: Connection, table_name: str, *, at: datetime) -> Replayed:
    """Store what can be stored by now; the caller commits. `at` is when the rows were synced.

    Tries the first 500: do it again while that stores any.
    """
    destination = destination_of(conn)
    layout = layout_of(conn, table_name)
    table = TableSpec(table_name, layout.key, "upsert" if layout.key else "append")
    stored: list[int] = []
    superseded: list[int] = []
    waiting = read_quarantine(conn, table_name, limit=AT_ONCE)
    for each in waiting:
        if not isinstance(each.record, dict):
            continue
        if _is_superseded(conn, table, each):
            superseded.append(each.number)
            continue
        if prepare(table, [each.record], destination).refused:
            continue
        with suppress(RecordRejected), part(conn, destination):
            write_page(
                conn, table, [each.record], pass_number=each.pass_number, synced_at=at,
                first=each.position,
            )  # fmt: skip
            ledger.count(conn, table_name, each.pass_number, Counts(quarantined=-1))
            stored.append(each.number)
    release(conn, table_name, [*stored, *superseded])
    return Replayed(
        stored=len(stored),
        superseded=len(superseded),
        left=len(waiting) - len(stored) - len(superseded),
    )


def _is_superseded(conn: Connection, table: TableSpec, quarantined: Quarantined) -> bool:
    key: Sequence[Any] = [quarantined.record.get(field) for field in table.key]
    if not key or any(value is None or isinstance(value, dict | list) for value in key):
        return False
    try:
        versions = read_versions(conn, table.name, key)
    except SnapshotError:
        return False
    return any(version.since > quarantined.at for version in versions)
