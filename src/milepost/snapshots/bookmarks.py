"""Where the next pass over a table may begin, so that it reads only what is new.

`milepost_bookmarks` in the destination has one row for each table whose source can say so.
"""

import json
from typing import Any, Final

from sqlalchemy import Column, Connection, MetaData, Table, Text, delete, insert, select

from milepost.snapshots.destination import destination_of
from milepost.snapshots.passes import has_rows

BOOKMARKS: Final = Table(
    "milepost_bookmarks",
    MetaData(),
    Column("name", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("cursor", Text, nullable=False),
)


def bookmark_of(conn: Connection, table_name: str, source: str) -> Any:
    """Read a table's bookmark; None where this source left none, or the table has no row."""
    if not destination_of(conn).has(conn, BOOKMARKS.name) or not has_rows(conn, table_name):
        return None
    found = conn.scalar(
        select(BOOKMARKS.c.cursor).where(
            BOOKMARKS.c.name == table_name, BOOKMARKS.c.source == source
        )
    )
    return None if found is None else json.loads(found)


def leave_bookmark(conn: Connection, table_name: str, source: str, cursor: Any) -> None:
    """Store a table's bookmark in place of the one before; None takes it away."""
    destination = destination_of(conn)
    if not destination.has(conn, BOOKMARKS.name):
        if cursor is None:
            return
        destination.lock(conn)
        BOOKMARKS.create(conn, checkfirst=True)
    conn.execute(delete(BOOKMARKS).where(BOOKMARKS.c.name == table_name))
    if cursor is not None:
        conn.execute(
            insert(BOOKMARKS).values(name=table_name, source=source, cursor=json.dumps(cursor))
        )
