"""Tries what a user may read, without reading any of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnClause, Connection, column, select
from sqlalchemy import table as table_of
from sqlalchemy.exc import DBAPIError

from milepost.connectors.connector import Table
from milepost.connectors.sql.dialect import Dialect
from milepost.errors import FatalConnectorError


@dataclass(frozen=True, slots=True)
class Tried:
    """What was found."""

    tables: Sequence[Table]
    notes: Sequence[str]
    problem: str | None


def try_tables(
    conn: Connection, dialect: Dialect, tables: Sequence[Table], schema: str | None
) -> Tried:
    """Select no row of each table, which needs the right to all of its columns."""
    refused: dict[str, str] = {}
    for table in tables:
        columns: list[ColumnClause[Any]] = [column(name) for name in table.columns]
        try:
            # Else what PostgreSQL refuses once ends the transaction for all others.
            with conn.begin_nested():
                conn.execute(
                    select(*columns).select_from(table_of(table.name, schema=schema)).limit(0)
                )
        except DBAPIError as error:
            refusal = dialect.refusal(error.orig if isinstance(error.orig, Exception) else error)
            if not isinstance(refusal, FatalConnectorError):
                raise
            refused[table.name] = str(refusal)
    notes = [f"{dialect.title} {_version(conn)}"]
    notes += [
        f"{table.name}: {len(table.columns)} columns, "
        + (f"key {', '.join(table.key)}" if table.key else "no key")
        for table in tables
        if table.name not in refused
    ]
    problem = None
    if not tables:
        problem = (
            "there is no table here that this user may see: name a schema with "
            "--option schema=NAME, or a view with --table"
        )
    elif refused:
        first = next(iter(refused.values()))
        problem = f"no right to read {', '.join(refused)}: {first}"
    return Tried(tables, notes, problem)


def _version(conn: Connection) -> str:
    query = {"sqlite": "SELECT sqlite_version()", "postgresql": "SHOW server_version"}
    return str(conn.exec_driver_sql(query.get(conn.dialect.name, "SELECT version()")).scalar())
