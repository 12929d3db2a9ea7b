"""What some passes have changed in a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection

from milepost.errors import SnapshotError
from milepost.snapshots.ledger import PassSummary, read_entries
from milepost.snapshots.names import DELETED_AT, FIRST_PASS, PASS
from milepost.snapshots.reading import each_row, layout_of, read_older

What = Literal["new", "changed", "gone"]


@dataclass(frozen=True, slots=True)
class Change:
    """A row that is new, changed or gone; `before` is the version before, where that is kept."""

    what: What
    record: dict[str, Any]
    before: dict[str, Any] | None = None


def read_changes(
    conn: Connection, table_name: str, *, since: int | None = None
) -> Iterator[Change]:
    """Read what has changed in a table since a pass began, that one included, in the key's order.

    None: since the latest pass that has ended. Raises SnapshotError where there is no such pass.
    """
    key = layout_of(conn, table_name).key
    began = _pass(conn, table_name, since)
    older = read_older(conn, table_name, since=began.number, at=began.began_at)
    # A row that came and went since then was never there before.
    for row in each_row(conn, table_name, bookkeeping=True):
        ours = {name: row.pop(name) for name in [*row] if name.startswith("_milepost_")}
        new, gone = ours[FIRST_PASS] >= began.number, ours[DELETED_AT] is not None
        if gone and ours[DELETED_AT] >= began.began_at and not new:
            yield Change("gone", row)
        elif not gone and ours[PASS] >= began.number:
            before = None if new else older.get(tuple(row[field] for field in key))
            yield Change("new" if new else "changed", row, before)


def _pass(conn: Connection, table_name: str, since: int | None) -> PassSummary:
    entries = read_entries(conn, table_name)
    found = [
        each
        for each in entries
        if (each.ended_at is not None if since is None else each.number == since)
    ]
    if not found:
        wanted = "that has ended" if since is None else f"{since}"
        raise SnapshotError(
            f"table {table_name!r} has no pass {wanted}; it has: "
            f"{', '.join(str(each.number) for each in reversed(entries)) or 'none'}"
        )
    return found[0]
