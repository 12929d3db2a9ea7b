"""Let a table's columns grow with its records."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from milepost.errors import SnapshotError
from milepost.snapshots.destination import Destination
from milepost.snapshots.kinds import EXACT_IN_FLOAT, Kind, exact_in_float, join, kinds_of
from milepost.snapshots.layout import Column, Layout
from milepost.snapshots.names import column_name, quoted
from milepost.snapshots.pages import Values

MOST_FIELDS: Final = 750
"""PostgreSQL has 1,600 columns a table, counting dropped ones; SQLite 2,000."""


def fit(conn: Connection, layout: Layout, page: Sequence[Values]) -> Layout:
    """Find the layout that holds both what is stored and the page. Changes nothing."""
    known = {column.field: position for position, column in enumerate(layout.columns)}
    columns = list(layout.columns)
    for values in page:
        if values.field in known:
            position = known[values.field]
            column = columns[position]
            columns[position] = replace(column, kind=_widened(conn, layout, column, values))
        else:
            name = column_name(values.field, (column.name for column in columns))
            column = Column(values.field, name, Kind.UNDECIDED)
            columns.append(replace(column, kind=_widened(conn, layout, column, values)))
    if len(columns) > max(MOST_FIELDS, len(layout.columns)):
        raise SnapshotError(
            f"table {layout.name!r}: its records have {len(columns):,} different fields, "
            f"a table holds {MOST_FIELDS:,}: if names of fields are data, nest them in one field"
        )
    return replace(layout, columns=tuple(columns), created=True)


def grow(conn: Connection, destination: Destination, before: Layout, after: Layout) -> None:
    """Make the table as the new layout says; creates it where it is not there yet."""
    if not before.created:
        destination.create(conn, after)
    elif before.columns != after.columns:
        destination.alter(conn, before, after)


def _widened(conn: Connection, layout: Layout, column: Column, field: Values) -> Kind:
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
        and not (stored is Kind.INTEGER and _holds_inexact(conn, layout, column))
    )
    return join(kinds, floats=floats)


def _holds_inexact(conn: Connection, layout: Layout, column: Column) -> bool:
    name = quoted(column.name)
    limit = EXACT_IN_FLOAT
    query = (
        f"SELECT 1 FROM {quoted(layout.relation)} "
        f"WHERE {name} > {limit} OR {name} < -{limit} LIMIT 1"
    )
    return conn.exec_driver_sql(query).first() is not None
