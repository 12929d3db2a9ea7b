"""Let a table's columns grow with its records."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from milepost.snapshots.destination import ColumnHeld, Destination, part
from milepost.snapshots.kinds import EXACT_IN_FLOAT, Kind, exact_in_float, join, kinds_of
from milepost.snapshots.layout import Column, Layout
from milepost.snapshots.names import column_name, quoted
from milepost.snapshots.pages import Values

MOST_FIELDS: Final = 750
"""PostgreSQL has 1,600 columns a table, counting dropped ones; SQLite 2,000."""


def declare(layout: Layout, declared: Mapping[str, Kind]) -> Layout:
    """Lay out the columns that the source has declared, where nothing else is known of them."""
    columns = [
        replace(column, kind=_declared(layout, column.field, declared))
        if column.kind is Kind.UNDECIDED
        else column
        for column in layout.columns
    ]
    known = {column.field for column in columns}
    for field in declared:
        if field not in known and len(columns) < MOST_FIELDS:
            name = column_name(field, (column.name for column in columns))
            columns.append(Column(field, name, _declared(layout, field, declared)))
    return replace(layout, columns=tuple(columns))


def fit(
    conn: Connection | None, stored: Layout, page: Sequence[Values], declared: Mapping[str, Kind]
) -> Layout:
    """Find the layout that holds both what is stored and the page. Changes nothing.

    A field beyond what a table can hold gets no column. Without a connection the answer is right
    where it is that nothing changes.
    """
    layout = declare(stored, declared)
    known = {column.field: position for position, column in enumerate(layout.columns)}
    columns = list(layout.columns)
    for values in page:
        if values.field in known:
            position = known[values.field]
            column = columns[position]
            columns[position] = replace(column, kind=_widened(conn, stored, column, values))
        elif len(columns) < MOST_FIELDS:
            name = column_name(values.field, (column.name for column in columns))
            column = Column(values.field, name, Kind.UNDECIDED)
            columns.append(replace(column, kind=_widened(conn, stored, column, values)))
    return replace(layout, columns=tuple(columns), created=True)


def grow(conn: Connection, destination: Destination, before: Layout, after: Layout) -> Layout:
    """Make the table as the new layout says; creates it where it is not there yet.

    Returns the layout that it has then: columns that somebody's view depends on stay as they are.
    """
    if not before.created:
        destination.create(conn, after)
    elif before.columns != after.columns:
        try:
            with part(conn, destination):
                destination.alter(conn, before, after)
        except ColumnHeld:
            had = {column.name: column for column in before.columns}
            after = replace(
                after, columns=tuple(had.get(column.name, column) for column in after.columns)
            )
            if before.columns != after.columns:
                destination.alter(conn, before, after)
    return after


def _declared(layout: Layout, field: str, declared: Mapping[str, Kind]) -> Kind:
    kind = declared.get(field, Kind.UNDECIDED)
    # A key is compared as the source wrote it.
    inexact = field in layout.key and kind in {Kind.FLOAT, Kind.TIMESTAMP}
    return Kind.UNDECIDED if inexact else kind


def _widened(conn: Connection | None, layout: Layout, column: Column, field: Values) -> Kind:
    stored = column.kind
    if stored is Kind.JSON:
        return stored
    keyed = field.field in layout.key
    values, types = field.present()
    # A key is compared as the source wrote it. As a float, 5 would become 5.0 and, in a column
    # that later widens to text, another key than 5; a timestamp has many ways to be written.
    timestamps = not keyed and stored in {Kind.UNDECIDED, Kind.TIMESTAMP}
    kinds = {stored, *kinds_of(values, types, timestamps=timestamps)}
    floats = (
        not keyed
        and {Kind.INTEGER, Kind.FLOAT} <= kinds
        and exact_in_float(values)
        and not (conn and stored is Kind.INTEGER and _holds_inexact(conn, layout, column))
    )
    return join(kinds, floats=floats)


def _holds_inexact(conn: Connection, layout: Layout, column: Column) -> bool:
    if column not in layout.columns:
        return False
    name = quoted(column.name)
    limit = EXACT_IN_FLOAT
    query = (
        f"SELECT 1 FROM {quoted(layout.relation)} "
        f"WHERE {name} > {limit} OR {name} < -{limit} LIMIT 1"
    )
    return conn.exec_driver_sql(query).first() is not None
