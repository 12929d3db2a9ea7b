"""What can be done of a page before its turn to be written comes, without the database.

The rows that a page becomes depend on the table's columns. Whoever prepares remembers what they
were when the page before was written; where they have changed by then, the rows are made again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from milepost.errors import RecordRejected
from milepost.snapshots import pages
from milepost.snapshots.content import hashes
from milepost.snapshots.destination import Destination, Rows
from milepost.snapshots.evolution import fit
from milepost.snapshots.kinds import Kind, encode
from milepost.snapshots.layout import Column, Layout, TableSpec
from milepost.snapshots.ledger import Counts
from milepost.snapshots.misfits import Misfits, set_aside
from milepost.snapshots.pages import Values
from milepost.snapshots.quarantine import Refused


@dataclass(frozen=True, slots=True)
class Laid:
    """A page as rows of a table; of those with the same key the last, the others are counted."""

    rows: Rows
    repeated: Counts
    misfits: int


@dataclass(slots=True)
class Memory:
    """What a table was like when its last page was written, and whether all of that was new."""

    layout: Layout | None = None
    all_new: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A page, seen field by field, without the records that cannot be stored."""

    page: Sequence[Values]
    good: Sequence[Mapping[str, Any]]
    refused: Sequence[Refused]
    columns: Sequence[Column] = ()
    laid: Laid | None = None
    memory: Memory | None = None

    def laid_for(self, layout: Layout) -> Laid | None:
        """Give the rows, if they were made for a table that looks like this one."""
        return self.laid if layout.created and layout.columns == self.columns else None

    def learn(self, layout: Layout, *, all_new: bool) -> None:
        """Tell whoever prepares what the table looks like, and whether no row had been there."""
        if self.memory is not None:
            self.memory.layout = layout
            self.memory.all_new = all_new


class Preparer:
    """Prepares the pages of one table, each before its turn."""

    def __init__(self, table: TableSpec, destination: Destination) -> None:
        self._table = table
        self._destination = destination
        self._memory = Memory()

    def prepare(self, records: Sequence[Mapping[str, Any]]) -> Prepared:
        """Prepare the next page; it may be in another thread than the page before."""
        return prepare(self._table, records, self._destination, memory=self._memory)


def prepare(
    table: TableSpec,
    records: Sequence[Mapping[str, Any]],
    destination: Destination,
    *,
    memory: Memory | None = None,
) -> Prepared:
    """Part the records that can be stored from those that cannot, and make rows of them.

    Rows only if `memory` knows the table, and it holds the page as it is.
    """
    page, good, refused = _sifted(table, records, nul=destination.holds_nul)
    if memory is None:
        return Prepared(page, good, refused)
    layout = memory.layout
    if layout is not None and good:
        fitted = fit(None, layout, page, table.columns)
        if fitted.columns == layout.columns:
            laid = _laid(page, len(good), fitted, layout)
            encoded = destination.encode(layout, laid.rows, likely_new=memory.all_new)
            laid = replace(laid, rows=replace(laid.rows, encoded=encoded))
            return Prepared(page, good, refused, layout.columns, laid, memory)
    return Prepared(page, good, refused, memory=memory)


def lay_out(prepared: Prepared, fitted: Layout, after: Layout) -> Laid:
    """Make rows for a table, of which `fitted` is what the page would need."""
    return _laid(prepared.page, len(prepared.good), fitted, after)


def _laid(page: Sequence[Values], count: int, fitted: Layout, after: Layout) -> Laid:
    fields, misfits = _placed(page, fitted, after)
    rows, repeated = _last_of_each(after, _rows(after, fields, misfits, count))
    return Laid(rows, repeated, misfits.count)


def _sifted(
    table: TableSpec, records: Sequence[Mapping[str, Any]], *, nul: bool
) -> tuple[list[Values], Sequence[Mapping[str, Any]], list[Refused]]:
    """Part the records that can be stored, seen field by field, from those that cannot."""
    good = records
    places = list(range(len(records)))
    refused: list[Refused] = []
    while good:
        try:
            page = pages.by_field(table.name, good, nul=nul)
            pages.check_key(table.name, table.key, page, good)
        except RecordRejected as error:
            at = error.index
            refused.append(Refused(places[at], good[at], error.field, error.reason))
            places.pop(at)
            good = [*good[:at], *good[at + 1 :]]
        else:
            return page, good, sorted(refused, key=attrgetter("index"))
    return [], good, sorted(refused, key=attrgetter("index"))


def _placed(
    page: Sequence[Values], fitted: Layout, after: Layout
) -> tuple[dict[str, Values], Misfits]:
    """Say which values go into columns, and which are kept aside."""
    wanted = {column.field: column.kind for column in fitted.columns}
    columns = {column.field: column.kind for column in after.columns}
    fields: dict[str, Values] = {}
    misfits = Misfits()
    for field in page:
        misfits.add(field.field, field.odd)
        if field.field not in columns:
            misfits.add(field.field, {i: v for i, v in enumerate(field.values) if v is not None})
            continue
        fields[field.field] = field
        if columns[field.field] is not wanted[field.field]:
            fields[field.field], aside = set_aside(field, columns[field.field])
            misfits.add(field.field, aside)
    return fields, misfits


def _rows(layout: Layout, fields: Mapping[str, Values], misfits: Misfits, count: int) -> Rows:
    texts = misfits.texts()
    cells = {
        column: _cells(fields[column.field], column.kind)
        for column in layout.columns
        if column.field in fields and column.kind is not Kind.UNDECIDED
    }
    return Rows(
        cells=cells,
        count=count,
        hashes=hashes(layout.columns, fields, texts, records=count),
        misfits=texts,
    )


def _cells(field: Values, kind: Kind) -> Sequence[Any]:
    if kind is Kind.JSON and field.written:
        return field.written
    return encode(field.values, field.types, kind)


def _last_of_each(layout: Layout, rows: Rows) -> tuple[Rows, Counts]:
    """Keep of the rows with the same key the last, in the page's order.

    The others count as if each had been written and the next one over it.
    """
    if not layout.key:
        return rows, Counts()
    by_field = {column.field: cells for column, cells in rows.cells.items()}
    keys = [by_field[field] for field in layout.key]
    identities = keys[0] if len(keys) == 1 else list(zip(*keys, strict=True))
    last = dict(zip(identities, range(rows.count), strict=True))
    if len(last) == rows.count:
        return rows, Counts()
    following: dict[Any, int] = {}
    updated = unchanged = 0
    for place in range(rows.count - 1, -1, -1):
        other = following.get(identities[place])
        if other is not None:
            same = rows.hashes[place] == rows.hashes[other]
            updated, unchanged = updated + (not same), unchanged + same
        following[identities[place]] = place
    kept = sorted(last.values())
    return Rows(
        cells={column: [cells[i] for i in kept] for column, cells in rows.cells.items()},
        count=len(kept),
        hashes=[rows.hashes[i] for i in kept],
        misfits={n: rows.misfits[i] for n, i in enumerate(kept) if i in rows.misfits},
    ), Counts(updated=updated, unchanged=unchanged)
