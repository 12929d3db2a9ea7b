"""Write one page of records into its table, whatever has become of the records' fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from milepost.snapshots import layout as layouts
from milepost.snapshots import pages
from milepost.snapshots.destination import destination_of
from milepost.snapshots.evolution import fit, grow
from milepost.snapshots.kinds import Kind, encode
from milepost.snapshots.layout import Column, TableSpec
from milepost.snapshots.passes import hold


@dataclass(frozen=True, slots=True)
class Written:
    """What a page became: its records, and how many rows they are.

    There are fewer rows where records of the page had the same key: the last one is kept.
    """

    records: int
    stored: int


def write_page(
    conn: Connection,
    table: TableSpec,
    records: Sequence[Mapping[str, Any]],
    *,
    pass_number: int,
    synced_at: datetime,
) -> Written:
    """Write a page; the caller commits it, with his checkpoint, or rolls it back.

    Columns come and widen as the records need. A row seen again is no longer deleted. Raises
    RecordRejected, or SnapshotError where the table cannot take the page.
    """
    destination = destination_of(conn)
    before = hold(conn, destination, table, pass_number)
    if not records:
        return Written(0, 0)
    page = pages.by_field(table.name, records)
    pages.check_key(table.name, table.key, page, records)
    after = fit(conn, before, page)
    columns = {column.field: column for column in after.columns}
    stored: dict[Column, Sequence[Any]] = {}
    for field in page:
        column = columns[field.field]
        if column.kind is not Kind.UNDECIDED:
            cells = encode(field.values, field.types, column.kind)
            pages.check_text(table.name, field.field, cells, column.kind, nul=destination.holds_nul)
            stored[column] = cells
    grow(conn, destination, before, after)
    if after != before:
        layouts.save(conn, after)
    kept = _last_of_each([stored[columns[field]] for field in table.key], len(records))
    if len(kept) < len(records):
        stored = {column: [cells[i] for i in kept] for column, cells in stored.items()}
    destination.write(
        conn,
        after,
        list(stored),
        list(stored.values()),
        rows=len(kept),
        pass_number=pass_number,
        synced_at=synced_at,
    )
    return Written(len(records), len(kept))


def _last_of_each(keys: Sequence[Sequence[Any]], count: int) -> Sequence[int]:
    """Find the positions to keep: of records with the same key the last, in the page's order."""
    if not keys:
        return range(count)
    identities = keys[0] if len(keys) == 1 else list(zip(*keys, strict=True))
    last = dict(zip(identities, range(count), strict=True))
    return range(count) if len(last) == count else sorted(last.values())
