"""What a snapshot table looks like: its description by the caller, and what is stored of it.

`milepost_snapshot_tables` in the destination has one row for each table. Its `columns` says which
field of the records is which column: the place to look when a name had to be changed.
"""

import json
from dataclasses import asdict, dataclass
from typing import Final, Literal

from sqlalchemy import BigInteger, Connection, MetaData, Table, Text, insert, select, update
from sqlalchemy import Column as SqlColumn

from milepost.errors import SnapshotError
from milepost.snapshots.kinds import Kind
from milepost.snapshots.names import relation_name

Mode = Literal["upsert", "append", "replace"]

TABLES: Final = Table(
    "milepost_snapshot_tables",
    MetaData(),
    SqlColumn("name", Text, primary_key=True),
    SqlColumn("relation", Text, nullable=False, unique=True),
    SqlColumn("key", Text, nullable=False),
    SqlColumn("last_pass", BigInteger, nullable=False),
    SqlColumn("complete_pass", BigInteger, nullable=False),  # the latest; 0: none yet
    SqlColumn("columns", Text),  # null: the relation has not been created yet
)


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table to write: its name at the source, the fields that identify a record, the mode.

    upsert: one row for each key, the latest version. append: every pass adds its rows. replace:
    after a complete pass only the rows of that pass remain. Keys are compared as JSON text.
    """

    name: str
    key: tuple[str, ...] = ()
    mode: Mode = "upsert"

    def __post_init__(self) -> None:
        if (self.mode == "upsert") != bool(self.key):
            rule = "upsert needs a key" if not self.key else f"{self.mode} takes no key"
            raise SnapshotError(f"table {self.name!r}: {rule}")
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
    """What the destination knows of one table."""

    name: str
    relation: str
    key: tuple[str, ...]
    last_pass: int = 0
    complete_pass: int = 0
    columns: tuple[Column, ...] = ()
    created: bool = False

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns' names of the key, in the key's order."""
        names = {column.field: column.name for column in self.columns}
        return tuple(names[field] for field in self.key)


def find(conn: Connection, name: str, *, hold: bool = False) -> Layout | None:
    """Read what is stored of a table; with `hold`, no other transaction changes it before us."""
    query = select(TABLES).where(TABLES.c.name == name)
    row = conn.execute(query.with_for_update() if hold else query).one_or_none()
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
    )


def names(conn: Connection) -> list[str]:
    """List the tables that were ever begun, sorted."""
    return sorted(conn.scalars(select(TABLES.c.name)))


def add(conn: Connection, table: TableSpec) -> Layout:
    """Store a new table under a relation name of its own. The caller holds the lock for it."""
    relation = relation_name(table.name, conn.scalars(select(TABLES.c.relation)))
    layout = Layout(table.name, relation, table.key)
    conn.execute(insert(TABLES).values(name=layout.name, **_stored(layout)))
    return layout


def save(conn: Connection, layout: Layout) -> None:
    """Store what became of a table."""
    conn.execute(update(TABLES).where(TABLES.c.name == layout.name).values(**_stored(layout)))


def _stored(layout: Layout) -> dict[str, object]:
    columns = json.dumps([asdict(column) for column in layout.columns])
    return {
        "relation": layout.relation,
        "key": json.dumps(layout.key),
        "last_pass": layout.last_pass,
        "complete_pass": layout.complete_pass,
        "columns": columns if layout.created else None,
    }
