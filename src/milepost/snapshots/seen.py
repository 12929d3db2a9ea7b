"""Which rows a pass has seen without writing them, because they are as they were.

`milepost_seen` in the destination has a few lines for each page: the numbers of such rows, as JSON.
A row that a pass writes knows that pass itself. The lines of the latest complete pass are kept, for
the passes that ask what two of them in a row have not seen.
"""

import json
from collections.abc import Sequence
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, delete, insert

SEEN: Final = Table(
    "milepost_seen",
    MetaData(),
    Column("name", Text, nullable=False),
    Column("pass", BigInteger, nullable=False),
    Column("row_numbers", Text, nullable=False),
)


def note_seen(
    conn: Connection, table_name: str, pass_number: int, row_numbers: Sequence[int]
) -> None:
    """Note the rows of one page that are as they were."""
    if row_numbers:
        values = {"name": table_name, "pass": pass_number, "row_numbers": json.dumps(row_numbers)}
        conn.execute(insert(SEEN).values(values))


def forget_seen(
    conn: Connection, table_name: str, *, before: int | None = None, by: int | None = None
) -> None:
    """Forget what the passes before one have seen, or what one has."""
    which = SEEN.c["pass"] == by if before is None else SEEN.c["pass"] < before
    conn.execute(delete(SEEN).where(SEEN.c.name == table_name, which))
