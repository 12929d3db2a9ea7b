"""SQL that is the same for several databases: to create a table, to read a column as text."""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection

from milepost.snapshots.kinds import Kind
from milepost.snapshots.layout import Column, Layout
from milepost.snapshots.names import key_index_name, quoted


def create_table(
    conn: Connection,
    relation: str,
    layout: Layout,
    types: Mapping[Kind, str],
    bookkeeping: Mapping[str, str],
) -> None:
    """Create a table with a layout's columns and those of ours."""
    columns = [
        *(f"{quoted(column.name)} {types[column.kind]}" for column in layout.columns),
        *(f"{name} {type_}" for name, type_ in bookkeeping.items()),
    ]
    conn.exec_driver_sql(f"CREATE TABLE {quoted(relation)} ({', '.join(columns)})")


def create_key_index(conn: Connection, layout: Layout) -> None:
    """Create the unique index over the key, if there is one."""
    if layout.key:
        index = quoted(key_index_name(layout.relation))
        key = ", ".join(map(quoted, layout.key_columns))
        conn.exec_driver_sql(f"CREATE UNIQUE INDEX {index} ON {quoted(layout.relation)} ({key})")


def as_text(column: Column, iso: Callable[[str], str]) -> str:
    """Read JSON and timestamps as text, of which drivers know less; `iso` writes a moment so."""
    name = quoted(column.name)
    match column.kind:
        case Kind.TIMESTAMP:
            return iso(name)
        case Kind.JSON:
            return f"{name}::text"
        case _:
            return name
