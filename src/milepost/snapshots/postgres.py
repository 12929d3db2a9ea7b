"""Snapshots in PostgreSQL, by psycopg.

JSON is jsonb, whose numbers are decimal: 1e23 reads back as the integer of that value. A timestamp
is an instant; the offset that the source wrote is not kept.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func
from sqlalchemy.exc import DBAPIError

from milepost.snapshots.creating import as_text, create_key_index, create_table
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
from milepost.snapshots.postgres_texts import array, lines
from milepost.snapshots.postgres_types import TYPES, iso, widening
from milepost.snapshots.seen import SEEN
from milepost.snapshots.upserts import KEPT, STORED, on_conflict

_BOOKKEEPING: Final = {
    ROW: "bigint GENERATED ALWAYS AS IDENTITY",
    PASS: "bigint NOT NULL",
    FIRST_PASS: "bigint NOT NULL",
    SYNCED_AT: "timestamptz NOT NULL",
    DELETED_AT: "timestamptz",
    HASH: "bigint NOT NULL",
    MISFITS: "text",
}
_REFUSED: Final = frozenset({"22", "23", "44", "54", "P0"})
_LOCK: Final = int.from_bytes(b"snapshot")


class PostgresDestination:
    """Keeps snapshots in a PostgreSQL database, in the connection's current schema."""

    holds_nul = False
    has_savepoints = True
    enough = 5000
    works_apart = True
    # The key's index is to be used however small the table is: the plan is kept, and the table
    # grows. In a statement that comes anyway, because each journey to the server counts.
    when_filling = (func.set_config("enable_seqscan", "off", True),)

    def lock(self, conn: Connection) -> None:
        """Take an advisory lock: CREATE TABLE IF NOT EXISTS alone fails when two do it at once."""
        conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")

    def has(self, conn: Connection, relation: str) -> bool:
        """Tell whether the name means any relation, through the whole search path."""
        query = "SELECT to_regclass(%s) IS NOT NULL"
        return bool(conn.exec_driver_sql(query, (quoted(relation),)).scalar_one())

    def create(self, conn: Connection, layout: Layout) -> None:
        """Create the table with its key's unique index."""
        create_table(conn, layout.relation, layout, TYPES, _BOOKKEEPING)
        create_key_index(conn, layout)

    def alter(self, conn: Connection, before: Layout, after: Layout) -> None:
        """Add and widen columns by one ALTER TABLE, which rewrites the table at most once."""
        changes = []
        for old, new in zip(before.columns, after.columns, strict=False):
            if old.kind is new.kind:
                continue
            name, type_ = quoted(new.name), TYPES[new.kind]
            if old.kind is Kind.UNDECIDED and new.field not in after.key:
                # All null: another column in its place, and no row is rewritten.
                changes += [f"DROP COLUMN {name}", f"ADD COLUMN {name} {type_}"]
            else:
                using = widening(name, old.kind, new.kind)
                changes.append(f"ALTER COLUMN {name} TYPE {type_} USING {using}")
        changes += [
            f"ADD COLUMN {quoted(column.name)} {TYPES[column.kind]}"
            for column in after.columns[len(before.columns) :]
        ]
        with _explained(after):
            conn.exec_driver_sql(f"ALTER TABLE {quoted(after.relation)} {', '.join(changes)}")

    def encode(self, layout: Layout, rows: Rows, *, likely_new: bool) -> object:
        """Write lines for COPY where no row is expected to be there, else arrays."""
        if likely_new or not layout.key:
            return Lines(lines(_columns(rows)))
        return _arrays(rows)

    def write(
        self, conn: Connection, layout: Layout, rows: Rows, *, history: Layout | None
    ) -> Outcome:
        """Insert by COPY what was made ready for it; else, or where a row was there, upsert."""
        if isinstance(rows.encoded, Lines):
            if _copied(conn, layout, rows, rows.encoded):
                return Outcome(rows.count, 0, ())
            rows = replace(rows, encoded=None)
        return self._upsert(conn, layout, rows, history)

    def _upsert(
        self, conn: Connection, layout: Layout, rows: Rows, history: Layout | None
    ) -> Outcome:
        """Insert or update by one statement, each column of the page as one array.

        The server takes half the time that it needs for the same page as JSON, and no longer than
        for COPY into a temporary table, which takes more journeys.
        """
        columns = list(rows.cells)
        arrays = rows.encoded if isinstance(rows.encoded, tuple) else _arrays(rows)
        labels = [f"c{number}" for number in range(len(columns))]
        types = [*(TYPES[column.kind] for column in columns), "bigint", "text"]
        given = ", ".join(f"%s::{type_}[]" for type_ in types)
        page = (
            f"SELECT * FROM unnest({given}) WITH ORDINALITY "
            f"AS page({', '.join([*labels, 'hash', 'misfits', 'place'])})"
        )
        into = [*(quoted(column.name) for column in columns), HASH, MISFITS]
        into += [PASS, FIRST_PASS, SYNCED_AT]
        taken = [*labels, "hash", "misfits", "%s::bigint", "%s::bigint", "%s::timestamptz"]
        relation = quoted(layout.relation)
        insert = f"INSERT INTO {relation} AS {STORED} ({', '.join(into)}) SELECT {', '.join(taken)}"
        ours = (rows.pass_number, rows.pass_number, rows.synced_at)
        with _explained(layout):
            if not layout.key:
                conn.exec_driver_sql(f"{insert} FROM ({page}) AS page", (*ours, *arrays))
                return Outcome(rows.count, 0, ())
            label = dict(zip((column.name for column in columns), labels, strict=True))
            equal = " AND ".join(
                f"stored.{quoted(name)} = page.{label[name]}" for name in layout.key_columns
            )
            kept = "" if history is None else f", _milepost_kept AS ({_keep(layout, history)})"
            found, unchanged = conn.exec_driver_sql(
                f"WITH _milepost_page AS MATERIALIZED ({page}), "
                "_milepost_found AS MATERIALIZED (SELECT page.place, there.* "
                "FROM _milepost_page AS page CROSS JOIN LATERAL ("
                f"SELECT ctid AS version, {ROW} AS row, "
                f"{HASH} = page.hash AND {DELETED_AT} IS NULL AS same "
                f"FROM {relation} AS stored WHERE {equal} LIMIT 1) AS there), "
                f"_milepost_written AS ({insert} FROM _milepost_page AS page WHERE NOT EXISTS "
                "(SELECT 1 FROM _milepost_found AS found "
                "WHERE found.place = page.place AND found.same) "
                f"{on_conflict(layout, greatest='greatest')}){kept} "
                "SELECT count(*), array_agg(row) FILTER (WHERE same) FROM _milepost_found",
                (*arrays, *ours, *(() if history is None else (rows.synced_at,))),
            ).one()
        unchanged = unchanged or ()
        return Outcome(rows.count - found, found - len(unchanged), unchanged)

    def take_place(self, conn: Connection, before: Layout, coming: Layout) -> None:
        """Delete the table's rows and insert the others.

        To rename would be quicker and would lose what depends on the table: views, grants, indexes.
        """
        relation = quoted(before.relation)
        if not before.created:
            conn.exec_driver_sql(f"ALTER TABLE {quoted(coming.relation)} RENAME TO {relation}")
            return
        conn.exec_driver_sql(f"DELETE FROM {relation}")
        kinds = {column.name: column.kind for column in coming.columns}
        had = {column.name: column.kind for column in before.columns}
        changes = [
            f"DROP COLUMN {quoted(name)}" for name, kind in had.items() if kinds.get(name) != kind
        ]
        changes += [
            f"ADD COLUMN {quoted(name)} {TYPES[kind]}"
            for name, kind in kinds.items()
            if had.get(name) != kind
        ]
        if changes:
            with _explained(before):
                conn.exec_driver_sql(f"ALTER TABLE {relation} {', '.join(changes)}")
        names = ", ".join([*map(quoted, kinds), *(name for name in _BOOKKEEPING if name != ROW)])
        conn.exec_driver_sql(
            f"INSERT INTO {relation} ({names}) "
            f"SELECT {names} FROM {quoted(coming.relation)} ORDER BY {ROW}"
        )
        conn.exec_driver_sql(f"DROP TABLE {quoted(coming.relation)}")

    def unseen(self, row_number: str, condition: str) -> str:
        """Let the server join, so that it may do so on disk."""
        return (
            f"NOT EXISTS (SELECT 1 FROM {SEEN.name} "
            f"CROSS JOIN json_array_elements_text({SEEN.name}.row_numbers::json) AS each "
            f"WHERE each::bigint = {row_number} AND {condition})"
        )

    def refusal(self, error: DBAPIError) -> str | None:
        """Tell by the SQL state: data, a constraint, a limit, what a trigger raises."""
        state = getattr(error.orig, "sqlstate", None) or ""
        return str(error.orig).strip().partition("\n")[0] if state[:2] in _REFUSED else None

    def readable(self, column: Column) -> str:
        """Read JSON and timestamps as text."""
        return as_text(column, iso)

    def moment(self, at: datetime) -> datetime:
        """Leave the moment to the driver."""
        return at


@dataclass(frozen=True, slots=True)
class Lines:
    """A page as COPY takes it, but for what is the same in each of its rows."""

    text: str


def _columns(rows: Rows) -> list[tuple[Kind, Sequence[Any]]]:
    """Give what a row is made of, with its hash and its misfits at the end."""
    misfits = [rows.misfits.get(place) for place in range(rows.count)]
    return [
        *((column.kind, cells) for column, cells in rows.cells.items()),
        (Kind.INTEGER, rows.hashes),
        (Kind.TEXT, misfits),
    ]


def _arrays(rows: Rows) -> tuple[str, ...]:
    return tuple(array(kind, cells) for kind, cells in _columns(rows))


def _copied(conn: Connection, layout: Layout, rows: Rows, ready: Lines) -> bool:
    """Insert by COPY, and tell whether the server took all of it; if not, none is there.

    Why it did not, a key that is there or what cannot be, the upsert will find and say.
    """
    from psycopg import Error

    names = [*(quoted(column.name) for column in rows.cells), HASH, MISFITS]
    into = ", ".join([*names, PASS, FIRST_PASS, SYNCED_AT])
    ours = f"\t{rows.pass_number}\t{rows.pass_number}\t{rows.synced_at.isoformat()}\n"
    statement = f"COPY {quoted(layout.relation)} ({into}) FROM STDIN"
    with conn.begin_nested() as part, closing(conn.connection.cursor()) as cursor:
        try:
            with cursor.copy(statement) as copy:
                copy.write(ready.text.replace("\n", ours))
        except Error:
            part.rollback()
            return False
    return True


def _keep(layout: Layout, history: Layout) -> str:
    """Write the SQL that keeps the versions that rows have before they are updated."""
    names = ", ".join([*(quoted(column.name) for column in layout.columns), *KEPT])
    return (
        f"INSERT INTO {quoted(history.relation)} ({names}, {DELETED_AT}) "
        f"SELECT {names}, coalesce({DELETED_AT}, %s::timestamptz) "
        f"FROM {quoted(layout.relation)} AS stored "
        "WHERE ctid = ANY(ARRAY(SELECT version FROM _milepost_found WHERE NOT same))"
    )


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
                raise ColumnHeld(
                    f"{table}: a column must change its type, and something depends on it "
                    f"({error.orig}): drop the view and create it again afterwards"
                ) from error
        raise
