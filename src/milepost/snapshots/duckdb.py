"""Snapshots in a DuckDB file.

A timestamp is an instant; the offset that the source wrote is not kept. JSON is the text that the
source gave. Tables have no index: DuckDB finds a page's keys by joining, which is faster than to
keep an index, and a table without one can be altered.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Final

import duckdb
import pyarrow as pa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from milepost.snapshots.creating import as_text, create_table
from milepost.snapshots.destination import ColumnHeld, Outcome, Rows
from milepost.snapshots.kinds import Kind
from milepost.snapshots.layout import Column, Layout
from milepost.snapshots.names import (
    DELETED_AT,
    FIRST_PASS,
    HASH,
    MISFITS,
    PASS,
    ROW,
    SYNCED_AT,
    quoted,
)
from milepost.snapshots.seen import SEEN
from milepost.snapshots.upserts import KEPT

_TYPES: Final = {
    Kind.UNDECIDED: "VARCHAR",
    Kind.INTEGER: "BIGINT",
    Kind.FLOAT: "DOUBLE",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.TIMESTAMP: "TIMESTAMPTZ",
    Kind.TEXT: "VARCHAR",
    Kind.JSON: "JSON",
}
_BOOKKEEPING: Final = {
    ROW: "BIGINT NOT NULL",
    PASS: "BIGINT NOT NULL",
    FIRST_PASS: "BIGINT NOT NULL",
    SYNCED_AT: "TIMESTAMPTZ NOT NULL",
    DELETED_AT: "TIMESTAMPTZ",
    HASH: "BIGINT NOT NULL",
    MISFITS: "VARCHAR",
}
# What a page's cells are on their way; timestamps and JSON are cast from text.
_ARROW: Final = {
    Kind.INTEGER: pa.int64(), Kind.FLOAT: pa.float64(), Kind.BOOLEAN: pa.bool_(),
    Kind.TIMESTAMP: pa.string(), Kind.TEXT: pa.string(), Kind.JSON: pa.string(),
}  # fmt: skip
_PAGE: Final = "_milepost_page"
_FOUND: Final = "_milepost_found"


class DuckdbDestination:
    """Keeps snapshots in a DuckDB file. One process at a time has it, and writers take turns."""

    holds_nul = True
    has_savepoints = False
    enough = 10_000
    works_apart = True
    when_filling = ()

    def lock(self, conn: Connection) -> None:
        """Do nothing: writers take turns."""

    def has(self, conn: Connection, relation: str) -> bool:
        """Tell whether the name is taken by a table or a view."""
        query = (
            "SELECT 1 FROM information_schema.tables "
            "WHERE lower(table_name) = lower(?) AND table_schema = current_schema()"
        )
        return conn.exec_driver_sql(query, (relation,)).first() is not None

    def create(self, conn: Connection, layout: Layout) -> None:
        """Create the table."""
        create_table(conn, layout.relation, layout, _TYPES, _BOOKKEEPING)

    def alter(self, conn: Connection, before: Layout, after: Layout) -> None:
        """Add and widen columns, each by a statement of its own."""
        held = ", ".join(name for name, _ in _indexes(conn, after.relation))
        relation = quoted(after.relation)
        for old, new in zip(before.columns, after.columns, strict=False):
            if old.kind is new.kind:
                continue
            if held:
                raise ColumnHeld(
                    f"table {after.name!r}: a column must change its type, and indexes are in the "
                    f"way ({held}): drop them and create them again afterwards"
                )
            name, type_ = quoted(new.name), _TYPES[new.kind]
            using = _widening(name, old.kind, new.kind)
            conn.exec_driver_sql(
                f"ALTER TABLE {relation} ALTER COLUMN {name} TYPE {type_} USING {using}"
            )
        for column in after.columns[len(before.columns) :]:
            added = f"{quoted(column.name)} {_TYPES[column.kind]}"
            conn.exec_driver_sql(f"ALTER TABLE {relation} ADD COLUMN {added}")

    def encode(self, layout: Layout, rows: Rows, *, likely_new: bool) -> object:  # noqa: ARG002
        """Make an Arrow table."""
        return _arrow(rows)

    def write(
        self, conn: Connection, layout: Layout, rows: Rows, *, history: Layout | None
    ) -> Outcome:
        """Join the page, as an Arrow table, with the rows that are there."""
        columns = list(rows.cells)
        labels = _labels(rows)
        names = [*(quoted(column.name) for column in columns), HASH, MISFITS]
        taken = [
            *(_taken(label, column.kind) for label, column in zip(labels, columns, strict=True)),
            f"{_PAGE}.hash", f"{_PAGE}.misfits",
        ]  # fmt: skip
        relation, number = quoted(layout.relation), f"{rows.pass_number:d}"
        with _registered(conn, rows.encoded or _arrow(rows)):
            found, unchanged = 0, list[int]()
            if layout.key:
                found, unchanged = self._find(conn, layout, dict(zip(columns, labels, strict=True)))
            at = (rows.synced_at,)
            if found > len(unchanged):
                if history is not None:
                    self._keep(conn, layout, history, rows.synced_at)
                changes = [f"{name} = {value}" for name, value in zip(names, taken, strict=True)]
                missing = {column.name for column in layout.columns} - {c.name for c in columns}
                changes += [f"{quoted(name)} = NULL" for name in sorted(missing)]
                changes += [f"{PASS} = greatest({PASS}, {number})", f"{SYNCED_AT} = ?"]
                changes.append(f"{DELETED_AT} = NULL")
                conn.exec_driver_sql(
                    f"UPDATE {relation} SET {', '.join(changes)} "
                    f"FROM {_PAGE} JOIN {_FOUND} USING (place) "
                    f"WHERE {relation}.{ROW} = {_FOUND}.row AND NOT {_FOUND}.same",
                    at,
                )
            if found < rows.count:
                new = f" ANTI JOIN {_FOUND} USING (place)" if layout.key else ""
                conn.exec_driver_sql(
                    f"INSERT INTO {relation} "
                    f"({', '.join([*names, PASS, FIRST_PASS, SYNCED_AT, ROW])}) "
                    f"SELECT {', '.join(taken)}, {number}, {number}, ?, "
                    f"row_number() OVER (ORDER BY place) + {_last_row(relation)} "
                    f"FROM {_PAGE}{new}",
                    at,
                )
        return Outcome(rows.count - found, found - len(unchanged), unchanged)

    def take_place(self, conn: Connection, before: Layout, coming: Layout) -> None:
        """Drop the table and name the other one like it; views find it by that name."""
        relation = quoted(before.relation)
        attached = _indexes(conn, before.relation) if before.created else []
        if before.created:
            conn.exec_driver_sql(f"DROP TABLE {relation}")
        conn.exec_driver_sql(f"ALTER TABLE {quoted(coming.relation)} RENAME TO {relation}")
        for _, statement in attached:
            conn.exec_driver_sql(statement)

    def unseen(self, row_number: str, condition: str) -> str:
        """Join with the numbers of all lines."""
        return (
            f"{row_number} NOT IN (SELECT unnest({SEEN.name}.row_numbers::JSON::BIGINT[]) "
            f"FROM {SEEN.name} WHERE {condition})"
        )

    def refusal(self, error: DBAPIError) -> str | None:
        """Tell by the class: a constraint, a value that cannot be converted."""
        refused = isinstance(error.orig, duckdb.IntegrityError | duckdb.DataError)
        return str(error.orig).strip().partition("\n")[0] if refused else None

    def readable(self, column: Column) -> str:
        """Read JSON and timestamps as text."""
        return as_text(column, _iso)

    def moment(self, at: datetime) -> datetime:
        """Leave the moment to the driver."""
        return at

    def _find(
        self, conn: Connection, layout: Layout, labels: dict[Column, str]
    ) -> tuple[int, list[int]]:
        """Look up which rows of the page are there, and which of them are as they were."""
        by_name = {column.name: (label, column.kind) for column, label in labels.items()}
        equal = " AND ".join(
            f"stored.{quoted(name)} = {_taken(*by_name[name])}" for name in layout.key_columns
        )
        conn.exec_driver_sql(
            f"CREATE OR REPLACE TEMP TABLE {_FOUND} AS SELECT {_PAGE}.place, "
            f"stored.{ROW} AS row, "
            f"stored.{HASH} = {_PAGE}.hash AND stored.{DELETED_AT} IS NULL AS same "
            f"FROM {_PAGE} JOIN {quoted(layout.relation)} AS stored ON {equal}"
        )
        found, unchanged = conn.exec_driver_sql(
            f"SELECT count(*), list(row) FILTER (WHERE same) FROM {_FOUND}"
        ).one()
        return found, unchanged or []

    def _keep(self, conn: Connection, layout: Layout, history: Layout, at: datetime) -> None:
        """Keep the versions that rows have before they are updated."""
        names = [*(quoted(column.name) for column in layout.columns), *KEPT]
        theirs = ", ".join(f"stored.{name}" for name in names)
        kept = quoted(history.relation)
        conn.exec_driver_sql(
            f"INSERT INTO {kept} ({', '.join(names)}, {DELETED_AT}, {ROW}) "
            f"SELECT {theirs}, coalesce(stored.{DELETED_AT}, ?), "
            f"row_number() OVER (ORDER BY found.place) + {_last_row(kept)} "
            f"FROM {quoted(layout.relation)} AS stored JOIN {_FOUND} AS found "
            f"ON stored.{ROW} = found.row WHERE NOT found.same",
            (at,),
        )


def _labels(rows: Rows) -> list[str]:
    return [f"c{number}" for number in range(len(rows.cells))]


def _arrow(rows: Rows) -> pa.Table:
    misfits = [rows.misfits.get(index) for index in range(rows.count)] if rows.misfits else None
    arrays = [pa.array(cells, _ARROW[column.kind]) for column, cells in rows.cells.items()]
    arrays += [
        pa.array(rows.hashes, pa.int64()),
        pa.nulls(rows.count, pa.string()) if misfits is None else pa.array(misfits, pa.string()),
        pa.array(range(rows.count), pa.int64()),
    ]
    return pa.table(arrays, names=[*_labels(rows), "hash", "misfits", "place"])


@contextmanager
def _registered(conn: Connection, page: object) -> Iterator[None]:
    """Let statements read a page by its name."""
    driver: Any = conn.connection.driver_connection
    driver.register(_PAGE, page)
    try:
        yield
    finally:
        # After an error the transaction takes nothing more; the next page takes the name over.
        with suppress(duckdb.TransactionException):
            driver.unregister(_PAGE)


def _taken(label: str, kind: Kind) -> str:
    if kind in {Kind.TIMESTAMP, Kind.JSON}:
        return f"{_PAGE}.{label}::{_TYPES[kind]}"
    return f"{_PAGE}.{label}"


def _last_row(relation: str) -> str:
    return f"(SELECT coalesce(max({ROW}), 0) FROM {relation})"


def _indexes(conn: Connection, relation: str) -> list[tuple[str, str]]:
    """List the indexes that people have added: name and statement."""
    query = (
        "SELECT index_name, sql FROM duckdb_indexes() "
        "WHERE table_name = ? AND schema_name = current_schema()"
    )
    return [(name, sql) for name, sql in conn.exec_driver_sql(query, (relation,))]


def _iso(name: str) -> str:
    """Write an instant as `2024-05-06T07:08:09Z`, with a fraction where there is one."""
    text = f"strftime({name} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%f')"
    return rf"regexp_replace({text}, '\.?0+$', '') || 'Z'"


def _widening(name: str, before: Kind, after: Kind) -> str:
    """Write the SQL that turns stored values into the wider kind, as new ones are written."""
    if before is Kind.UNDECIDED:
        return f"NULL::{_TYPES[after]}"
    text = _iso(name) if before is Kind.TIMESTAMP else name
    match after:
        case Kind.JSON:
            return f"to_json({text})"
        case Kind.TEXT:
            return f"({text})::VARCHAR"
        case _:
            return f"{name}::{_TYPES[after]}"
