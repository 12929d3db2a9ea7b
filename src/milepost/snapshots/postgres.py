"""Snapshots in PostgreSQL, by psycopg.

JSON is jsonb, whose numbers are decimal: 1e23 reads back as the integer of that value. A timestamp
is an instant; the offset that the source wrote is not kept.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from pydantic_core import to_json
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from milepost.errors import SnapshotError
from milepost.snapshots.kinds import Kind
from milepost.snapshots.layout import Column, Layout
from milepost.snapshots.names import DELETED_AT, SEEN_IN, SYNCED_AT, key_index_name, quoted
from milepost.snapshots.upserts import STORED, on_conflict

_TYPES: Final = {
    Kind.UNDECIDED: "text",
    Kind.INTEGER: "bigint",
    Kind.FLOAT: "double precision",
    Kind.BOOLEAN: "boolean",
    Kind.TIMESTAMP: "timestamptz",
    Kind.TEXT: "text",
    Kind.JSON: "jsonb",
}
_LOCK: Final = int.from_bytes(b"snapshot")


class PostgresDestination:
    """Keeps snapshots in a PostgreSQL database, in the connection's current schema."""

    holds_nul = False

    def lock(self, conn: Connection) -> None:
        """Take an advisory lock: CREATE TABLE IF NOT EXISTS alone fails when two do it at once."""
        conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")

    def has(self, conn: Connection, relation: str) -> bool:
        """Tell whether the name means any relation, through the whole search path."""
        query = "SELECT to_regclass(%s) IS NOT NULL"
        return bool(conn.exec_driver_sql(query, (quoted(relation),)).scalar_one())

    def create(self, conn: Connection, layout: Layout) -> None:
        """Create the table with its key's unique index."""
        columns = [
            *(f"{quoted(column.name)} {_TYPES[column.kind]}" for column in layout.columns),
            f"{SEEN_IN} bigint NOT NULL",
            f"{SYNCED_AT} timestamptz NOT NULL",
            f"{DELETED_AT} timestamptz",
        ]
        relation = quoted(layout.relation)
        conn.exec_driver_sql(f"CREATE TABLE {relation} ({', '.join(columns)})")
        if layout.key:
            index = quoted(key_index_name(layout.relation))
            key = ", ".join(map(quoted, layout.key_columns))
            conn.exec_driver_sql(f"CREATE UNIQUE INDEX {index} ON {relation} ({key})")

    def alter(self, conn: Connection, before: Layout, after: Layout) -> None:
        """Add and widen columns by one ALTER TABLE, which rewrites the table at most once."""
        changes = []
        for old, new in zip(before.columns, after.columns, strict=False):
            if old.kind is new.kind:
                continue
            name, type_ = quoted(new.name), _TYPES[new.kind]
            if old.kind is Kind.UNDECIDED and new.field not in after.key:
                # All null: another column in its place, and no row is rewritten.
                changes += [f"DROP COLUMN {name}", f"ADD COLUMN {name} {type_}"]
            else:
                using = _widening(name, old.kind, new.kind)
                changes.append(f"ALTER COLUMN {name} TYPE {type_} USING {using}")
        changes += [
            f"ADD COLUMN {quoted(column.name)} {_TYPES[column.kind]}"
            for column in after.columns[len(before.columns) :]
        ]
        with _explained(after):
            conn.exec_driver_sql(f"ALTER TABLE {quoted(after.relation)} {', '.join(changes)}")

    def write(
        self,
        conn: Connection,
        layout: Layout,
        columns: Sequence[Column],
        values: Sequence[Sequence[Any]],
        *,
        rows: int,
        pass_number: int,
        synced_at: datetime,
    ) -> None:
        """Insert or update by one statement, the whole page as one JSON parameter.

        Faster than executemany. COPY into a temporary table is hardly faster still, takes more
        journeys to the server and leaves dead rows in its catalogue with every page.
        """
        labels = [str(number) for number in range(len(values))]
        page = [dict(zip(labels, row, strict=True)) for row in zip(*values, strict=True)]
        names = [quoted(column.name) for column in columns]
        types = [
            f"{quoted(label)} {_TYPES[column.kind]}"
            for label, column in zip(labels, columns, strict=True)
        ]
        into = [*names, SEEN_IN, SYNCED_AT]
        taken = [*map(quoted, labels), "%s::bigint", "%s::timestamptz"]
        source = f"json_to_recordset(%s::json) AS page({', '.join(types)})"
        if not columns:
            source = "generate_series(1, json_array_length(%s::json))"
            page = [{}] * rows
        with _explained(layout):
            conn.exec_driver_sql(
                f"INSERT INTO {quoted(layout.relation)} AS {STORED} ({', '.join(into)}) "
                f"SELECT {', '.join(taken)} FROM {source} "
                f"{on_conflict(layout, greatest='greatest')}",
                (pass_number, synced_at, to_json(page).decode()),
            )

    def readable(self, column: Column) -> str:
        """Read JSON and timestamps as text: the driver's own types know no year beyond 9999."""
        match column.kind:
            case Kind.TIMESTAMP:
                return _iso(quoted(column.name))
            case Kind.JSON:
                return f"{quoted(column.name)}::text"
            case _:
                return quoted(column.name)

    def moment(self, at: datetime) -> datetime:
        """Leave the moment to the driver."""
        return at


def _iso(name: str) -> str:
    """Write an instant as `2024-05-06T07:08:09Z`, with a fraction where there is one."""
    text = f"""to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')"""
    return rf"regexp_replace({text}, '\.?0+$', '') || 'Z'"


def _float_text(name: str) -> str:
    """Write a float as Python's repr does: 5.0, not PostgreSQL's 5.

    From 1e15 on PostgreSQL may write other digits, 1e+15 or 9.999999999999999e+22, that read back
    as the same float.
    """
    text = f"{name}::text"
    return f"CASE WHEN {text} ~ '[.e]' THEN {text} ELSE {text} || '.0' END"


def _widening(name: str, before: Kind, after: Kind) -> str:
    """Write the SQL that turns stored values into the wider kind, as new ones are written."""
    if before is Kind.UNDECIDED:
        return f"NULL::{_TYPES[after]}"
    texts = {Kind.FLOAT: _float_text(name), Kind.TIMESTAMP: _iso(name)}
    match after:
        case Kind.TEXT:
            return texts.get(before, f"{name}::text")
        case Kind.JSON if before is Kind.FLOAT:
            return f"({texts[before]})::jsonb"
        case Kind.JSON:
            return f"to_jsonb({texts.get(before, name)})"
        case _:
            return f"{name}::{_TYPES[after]}"


@contextmanager
def _explained(layout: Layout) -> Iterator[None]:
    """Turn the database's refusals that people can do something about into ours."""
    from psycopg import errors

    try:
        yield
    except DBAPIError as error:
        table = f"table {layout.name!r}"
        match error.orig:
            case errors.FeatureNotSupported() | errors.DependentObjectsStillExist():
                raise SnapshotError(
                    f"{table}: a column must change its type, and something depends on it "
                    f"({error.orig}): drop the view and create it again afterwards"
                ) from error
            case errors.ProgramLimitExceeded():
                raise SnapshotError(
                    f"{table}: {error.orig}: select fewer fields at the source"
                ) from error
        raise
