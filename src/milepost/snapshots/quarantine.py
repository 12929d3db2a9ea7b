"""Records that could not be stored, with reason and position, until somebody has mended that.

`milepost_quarantine` in the destination has one row for each.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
)

from milepost.snapshots.destination import destination_of

QUARANTINE: Final = Table(
    "milepost_quarantine",
    MetaData(),
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("pass", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("refused_at", Text, nullable=False),
    Column("field", Text),
    Column("reason", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("readable", Integer, nullable=False),  # 0: `record` only describes what it was
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """One record in quarantine. `position` counts the records of its pass from 1.

    `record` is None where it was nothing that JSON can write.
    """

    number: int
    table: str
    pass_number: int
    position: int
    at: datetime
    field: str | None
    reason: str
    record: Any


@dataclass(frozen=True, slots=True)
class Refused:
    """A record of a page that cannot be stored, by its place in the page."""

    index: int
    record: Any
    field: str | None
    reason: str


def put_in_quarantine(
    conn: Connection,
    table_name: str,
    refused: Sequence[Refused],
    *,
    pass_number: int,
    first: int,
    at: datetime,
) -> None:
    """Store what was refused of a page; `first` is the position of the page's first record."""
    # The caller holds the table: nobody else numbers records of it.
    highest = select(func.coalesce(func.max(QUARANTINE.c.number), 0))
    last = conn.execute(highest.where(QUARANTINE.c.name == table_name)).scalar_one()
    conn.execute(
        insert(QUARANTINE),
        [
            {
                "name": table_name, "number": last + count, "pass": pass_number,
                "position": first + each.index,
                "refused_at": at.isoformat(), "field": _ascii(each.field),
                "reason": _ascii(each.reason),
                **_written(each.record),
            }
            for count, each in enumerate(refused, start=1)
        ],
    )  # fmt: skip


def read_quarantine(
    conn: Connection, table_name: str, *, limit: int | None = None
) -> list[Quarantined]:
    """Read the records of a table that are in quarantine, in the order in which they came."""
    if not destination_of(conn).has(conn, QUARANTINE.name):
        return []
    query = (
        select(QUARANTINE)
        .where(QUARANTINE.c.name == table_name)
        .order_by(QUARANTINE.c.number)
        .limit(limit)
    )
    return [
        Quarantined(
            number=row.number,
            table=row.name,
            pass_number=getattr(row, "pass"),
            position=row.position,
            at=datetime.fromisoformat(row.refused_at),
            field=row.field,
            reason=row.reason,
            record=json.loads(row.record) if row.readable else None,
        )
        for row in conn.execute(query)
    ]


def release(conn: Connection, table_name: str, numbers: Sequence[int]) -> None:
    """Take records out of quarantine."""
    conn.execute(
        delete(QUARANTINE).where(QUARANTINE.c.name == table_name, QUARANTINE.c.number.in_(numbers))
    )


def _written(record: Any) -> dict[str, Any]:
    try:
        # ASCII: what no text can hold, half a surrogate pair or NUL, is then escaped.
        return {"record": json.dumps(record), "readable": 1}
    except (TypeError, ValueError, RecursionError):
        return {"record": f"a {type(record).__name__} that JSON cannot write", "readable": 0}


def _ascii(text: str | None) -> str | None:
    """Escape what no text column can hold."""
    if text is None or (text.isprintable() and text.isascii()):
        return text
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
