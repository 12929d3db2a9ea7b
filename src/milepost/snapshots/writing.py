"""Write one page of records into its table, whatever has become of the records' fields."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from milepost.errors import PageRefused, RecordRejected
from milepost.snapshots import layout as layouts
from milepost.snapshots import ledger
from milepost.snapshots.destination import Destination, destination_of, part
from milepost.snapshots.evolution import fit, grow
from milepost.snapshots.layout import Layout, TableSpec
from milepost.snapshots.ledger import Counts
from milepost.snapshots.passes import hold, layout_to_fill
from milepost.snapshots.preparing import Prepared, lay_out, prepare
from milepost.snapshots.quarantine import Refused, put_in_quarantine
from milepost.snapshots.seen import note_seen


def write_page(
    conn: Connection,
    table: TableSpec,
    records: Sequence[Mapping[str, Any]],
    *,
    pass_number: int,
    synced_at: datetime,
    first: int = 1,
    quarantine_limit: int = 0,
    prepared: Prepared | None = None,
) -> Counts:
    """Write a page; the caller commits it, with his checkpoint, or rolls it back.

    Columns come and widen as the records need. A row seen again is no longer deleted, and one whose
    record is as it was is not written. Records that cannot be stored go to quarantine, `first` says
    where in its pass the page begins. `prepared`: what a Preparer has made of the records. Raises
    RecordRejected for the first of those refused where the pass has more than `quarantine_limit`,
    PageRefused where the database does not take a row, and SnapshotError where the table cannot
    take the page.
    """
    destination = destination_of(conn)
    before = layout_to_fill(conn, destination, table, pass_number)
    ready = prepared or prepare(table, records, destination)
    refused = ready.refused
    counts = Counts(quarantined=len(refused))
    if refused:
        put_in_quarantine(
            conn, table.name, refused, pass_number=pass_number, first=first, at=synced_at
        )
    if ready.good:
        after, laid = before, ready.laid_for(before)
        if laid is None:
            fitted = fit(conn, before, ready.page, table.columns)
            after = grow(conn, destination, before, fitted)
            if after != before:
                layouts.save(conn, after)
            laid = lay_out(ready, fitted, after)
        history = _history(conn, destination, table, after)
        try:
            rows = replace(laid.rows, pass_number=pass_number, synced_at=synced_at)
            outcome = destination.write(conn, after, rows, history=history)
        except DBAPIError as error:
            reason = destination.refusal(error)
            if reason is None:
                raise
            raise PageRefused(f"table {table.name!r}: {reason}") from error
        ready.learn(after, all_new=outcome.inserted == rows.count)
        note_seen(conn, table.name, pass_number, outcome.unchanged)
        counts = replace(
            counts,
            inserted=outcome.inserted,
            updated=outcome.updated + laid.repeated.updated,
            unchanged=len(outcome.unchanged) + laid.repeated.unchanged,
            misfits=laid.misfits,
        )
    so_far = ledger.count(conn, table.name, pass_number, counts)
    if refused and so_far.quarantined > quarantine_limit:
        raise _too_many(table, refused[0], so_far.quarantined, quarantine_limit)
    return counts


def write_carefully(
    conn: Connection,
    table: TableSpec,
    records: Sequence[Mapping[str, Any]],
    *,
    pass_number: int,
    synced_at: datetime,
    first: int = 1,
    quarantine_limit: int = 0,
) -> Counts:
    """Write a page that was refused; the records that the database does not take are set aside.

    It is written in halves, down to the single record, which takes time for each that is refused.
    Raises PageRefused where the database cannot take a part of a transaction back.
    """
    destination = destination_of(conn)
    given: Any = {
        "pass_number": pass_number,
        "synced_at": synced_at,
        "quarantine_limit": quarantine_limit,
    }
    # Before the part begins: what is taken back with it would let go of the table too.
    hold(conn, table, pass_number)
    try:
        with part(conn, destination):
            return write_page(conn, table, records, first=first, **given)
    except PageRefused as error:
        if not destination.has_savepoints:
            raise
        if len(records) > 1:
            half = len(records) // 2
            one = write_carefully(conn, table, records[:half], first=first, **given)
            return one + write_carefully(conn, table, records[half:], first=first + half, **given)
        refused = Refused(0, records[0], None, str(error))
    put_in_quarantine(
        conn, table.name, [refused], pass_number=pass_number, first=first, at=synced_at
    )
    counts = Counts(quarantined=1)
    so_far = ledger.count(conn, table.name, pass_number, counts)
    if so_far.quarantined > quarantine_limit:
        raise _too_many(table, refused, so_far.quarantined, quarantine_limit)
    return counts


def _history(
    conn: Connection, destination: Destination, table: TableSpec, after: Layout
) -> Layout | None:
    """Give the table of older versions the columns of the table."""
    before = layouts.find(conn, table.name, part="history") if table.history else None
    if before is None or before.columns == after.columns:
        return before
    grown = replace(before, columns=after.columns, created=True)
    grow(conn, destination, before, grown)
    layouts.save(conn, grown)
    return grown


def _too_many(table: TableSpec, first: Refused, count: int, limit: int) -> RecordRejected:
    reason = first.reason
    if limit:
        reason += (
            f"; so {count:,} records of this pass cannot be stored, and quarantine_limit is "
            f"{limit:,}"
        )
    return RecordRejected(table.name, first.index, first.field, reason)
