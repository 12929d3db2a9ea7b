"""What became of each pass: `milepost_passes` in the destination has one row for each.

Every record that a pass reads is inserted, updated, unchanged or in quarantine; the counts change
in the transaction that writes the records.
"""

from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    insert,
    select,
    update,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many records became what, and how many values stand in `_milepost_misfits`."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    quarantined: int = 0
    misfits: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """Count both."""
        both = {name: getattr(self, name) + getattr(other, name) for name in COUNTED}
        return Counts(**both)

    @property
    def records(self) -> int:
        """All records that were read."""
        return self.inserted + self.updated + self.unchanged + self.quarantined


@dataclass(frozen=True, slots=True, kw_only=True)
class PassSummary:
    """One pass over a table; `ended_at` is None while it goes on, or where it never ended.

    `deleted` counts the rows that its end has marked or taken away; `kept` says why none was.
    """

    table: str
    number: int
    began_at: datetime
    ended_at: datetime | None
    counts: Counts
    deleted: int
    kept: str | None


COUNTED: Final = [field.name for field in fields(Counts)]
PASSES: Final = Table(
    "milepost_passes",
    MetaData(),
    Column("name", Text),
    Column("number", BigInteger, autoincrement=False),
    Column("began_at", Text, nullable=False),
    Column("ended_at", Text),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in COUNTED),
    Column("deleted", BigInteger, nullable=False, server_default="0"),
    Column("kept", Text),
    PrimaryKeyConstraint("name", "number"),
)


def open_entry(conn: Connection, table_name: str, number: int, *, at: datetime) -> None:
    """Write that a pass has begun."""
    conn.execute(insert(PASSES).values(name=table_name, number=number, began_at=at.isoformat()))


def count(conn: Connection, table_name: str, number: int, counts: Counts) -> Counts:
    """Add what a page has become; returns what the pass has become so far."""
    added = {name: PASSES.c[name] + value for name, value in asdict(counts).items() if value}
    if not added:
        return _counts(conn.execute(select(PASSES).where(*_is(table_name, number))).one())
    changed = update(PASSES).where(*_is(table_name, number)).values(added)
    return _counts(conn.execute(changed.returning(*(PASSES.c[name] for name in COUNTED))).one())


def close_entry(
    conn: Connection,
    table_name: str,
    number: int,
    *,
    at: datetime,
    deleted: int = 0,
    kept: str | None = None,
) -> None:
    """Write how a pass has ended; the end that was written first remains."""
    conn.execute(
        update(PASSES)
        .where(*_is(table_name, number), PASSES.c.ended_at.is_(None))
        .values(ended_at=at.isoformat(), deleted=deleted, kept=kept)
    )


def read_entry(conn: Connection, table_name: str, number: int) -> PassSummary:
    """Read one pass."""
    return _summary(conn.execute(select(PASSES).where(*_is(table_name, number))).one())


def read_entries(conn: Connection, table_name: str) -> list[PassSummary]:
    """Read the passes over a table, the latest first."""
    query = select(PASSES).where(PASSES.c.name == table_name).order_by(PASSES.c.number.desc())
    return [_summary(row) for row in conn.execute(query)]


def _is(table_name: str, number: int) -> tuple[Any, Any]:
    return PASSES.c.name == table_name, PASSES.c.number == number


def _counts(row: Any) -> Counts:
    return Counts(**{name: getattr(row, name) for name in COUNTED})


def _summary(row: Any) -> PassSummary:
    return PassSummary(
        table=row.name,
        number=row.number,
        began_at=datetime.fromisoformat(row.began_at),
        ended_at=row.ended_at and datetime.fromisoformat(row.ended_at),
        counts=_counts(row),
        deleted=row.deleted,
        kept=row.kept,
    )
