"""What a snapshot table looks like: its description by the caller, and what is stored of it.

`milepost_snapshot_tables` in the destination has one row for each table. Its `columns` says which
field of the records is which column: the place to look when a name had to be changed. A table of
mode replace has a second row while a pass fills what is to come in its place, and one with a
history has a row for that.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    Result,
    Select,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy import Column as SqlColumn
from sqlalchemy.exc import DBAPIError

from milepost.errors import SnapshotError
from milepost.snapshots.kinds import Kind
from milepost.snapshots.names import relation_name

Mode = Literal["upsert", "append", "replace"]

Part = Literal["rows", "coming", "history"]
"""The table itself, what is to take its place, or the versions that its rows had before."""

TABLES: Final = Table(
    "milepost_snapshot_tables",
    MetaData(),
    SqlColumn("name", Text),
    SqlColumn("part", Text),
    SqlColumn("relation", Text, nullable=False, unique=True),
    SqlColumn("key", Text, nullable=False),
    SqlColumn("last_pass", BigInteger, nullable=False),
    SqlColumn("complete_pass", BigInteger, nullable=False),  # the latest; 0: none yet
    SqlColumn("columns", Text),  # null: the relation has not been created yet
    PrimaryKeyConstraint("name", "part"),
)


class NothingHere(SnapshotError):
    """A destination without any table of ours."""


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table to write: its name at the source, the fields that identify a record, the mode.

    upsert: one row for each key, the latest version. append: every pass adds its rows. replace:
    a pass fills a table of its own, which takes the place of the one before when it is complete.
    Keys are compared as JSON text. `history`: with a key, older versions of a row are kept in a
    table beside it. `columns` are those that the source has declared: they are there from the first
    row on, and widen as others do where it gives something else.
    """

    name: str
    key: tuple[str, ...] = ()
    mode: Mode = "upsert"
    history: bool = False
    columns: Mapping[str, Kind] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if (self.mode == "upsert") != bool(self.key):
            rule = "upsert needs a key" if not self.key else f"{self.mode} takes no key"
            raise SnapshotError(f"table {self.name!r}: {rule}")
        if self.history and not self.key:
            raise SnapshotError(f"table {self.name!r}: without a key a row has no history")
        if len(set(self.key)) != len(self.key):
            raise SnapshotError(f"table {self.name!r}: its key names a field twice: {self.key}")
        if not self.name.isprintable():
            raise SnapshotError(f"table {self.name!r}: its name has characters that cannot print")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the field of the records it holds, its own name, its kind."""

    field: str
    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Layout:
    """What the destination knows of one table, or of another part of it."""

    name: str
    relation: str
    key: tuple[str, ...]
    last_pass: int = 0
    complete_pass: int = 0
    columns: tuple[Column, ...] = ()
    created: bool = False
    part: Part = "rows"

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns' names of the key, in the key's order."""
        names = {column.field: column.name for column in self.columns}
        return tuple(names[each] for each in self.key)


def find(
    conn: Connection,
    name: str,
    *,
    part: Part = "rows",
    hold: bool = False,
    also: Sequence[ColumnElement[Any]] = (),
) -> Layout | None:
    """Read what is stored of a table; with `hold`, no other transaction changes it before us.

    `also` is read with it, for what reading it does. Raises SnapshotError, which the transaction
    does not survive, where the destination has none of our tables.
    """
    query = select(TABLES, *also).where(TABLES.c.name == name, TABLES.c.part == part)
    row = _execute(conn, query.with_for_update() if hold else query).one_or_none()
    if row is None:
        return None
    columns = json.loads(row.columns or "[]")
    return Layout(
        name=row.name,
        relation=row.relation,
        key=tuple(json.loads(row.key)),
        last_pass=row.last_pass,
        complete_pass=row.complete_pass,
        columns=tuple(Column(c["field"], c["name"], Kind(c["kind"])) for c in columns),
        created=row.columns is not None,
        part=part,
    )


def names(conn: Connection) -> list[str]:
    """List the tables that were ever begun, sorted."""
    return sorted(_execute(conn, select(TABLES.c.name).where(TABLES.c.part == "rows")).scalars())


def add(conn: Connection, table: TableSpec, *, part: Part = "rows") -> Layout:
    """Store a new table under a relation name of its own. The caller holds the lock for it."""
    wanted = table.name if part == "rows" else f"{table.name}_{part}"
    relation = relation_name(wanted, conn.scalars(select(TABLES.c.relation)))
    # A row has many versions.
    layout = Layout(table.name, relation, () if part == "history" else table.key, part=part)
    conn.execute(insert(TABLES).values(name=layout.name, part=part, **_stored(layout)))
    return layout


def save(conn: Connection, layout: Layout) -> None:
    """Store what became of a table."""
    changed = {name: value for name, value in _stored(layout).items() if name != "relation"}
    conn.execute(update(TABLES).where(*_is(layout)).values(**changed))


def remove(conn: Connection, layout: Layout) -> None:
    """Forget a table."""
    conn.execute(delete(TABLES).where(*_is(layout)))


def _execute(conn: Connection, query: Select[Any]) -> Result[Any]:
    try:
        return conn.execute(query)
    except DBAPIError as error:
        said = str(error.orig)
        if "part" in said:
            raise SnapshotError(
                "the destination's tables are of an earlier version of Milepost, which kept other "
                "columns: download into another database or schema"
            ) from error
        if TABLES.name in said and ("no such table" in said or "does not exist" in said):
            raise NothingHere("the destination has no tables of Milepost") from error
        raise


def _is(layout: Layout) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return TABLES.c.name == layout.name, TABLES.c.part == layout.part


def _stored(layout: Layout) -> dict[str, object]:
    columns = json.dumps([asdict(column) for column in layout.columns])
    return {
        "relation": layout.relation,
        "key": json.dumps(layout.key),
        "last_pass": layout.last_pass,
        "complete_pass": layout.complete_pass,
        "columns": columns if layout.created else None,
    }
