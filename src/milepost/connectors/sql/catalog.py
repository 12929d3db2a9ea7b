"""What tables a database has, and how the rows of one are told apart and put in an order."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, TableClause, inspect
from sqlalchemy import table as table_of
from sqlalchemy.engine import Inspector
from sqlalchemy.exc import NoSuchTableError, SAWarning

from milepost.connectors.connector import Table
from milepost.connectors.sql.dialect import Column, Dialect, Named
from milepost.connectors.sql.source import SqlSource
from milepost.errors import FatalConnectorError

EVERY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """One table or view. Without an `order` its rows can only be read from first to last."""

    name: str
    schema: str | None
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    order: tuple[Column, ...]
    growing: Column | None

    def described(self) -> Table:
        """Describe it to the caller."""
        types = {column.name: column.type for column in self.columns}
        return Table(self.name, self.key, types)

    @property
    def clause(self) -> TableClause:
        """What is selected from."""
        return table_of(self.name, schema=self.schema)


def list_tables(conn: Connection, dialect: Dialect, source: SqlSource) -> list[str]:
    """Name the tables that the source describes.

    Raises FatalConnectorError that names those there are, where one is not there.
    """
    there = sorted(dialect.tables(conn, source.schema))
    named = [*source.tables, *source.keys, *source.incremental]
    missing = sorted(set(named) - {*there, EVERY})
    if missing:
        there_too = {*there, *_views(inspect(conn), source.schema)}
        missing = [name for name in missing if name not in there_too]
    if missing:
        where = "the database" if source.schema is None else f"schema {source.schema!r}"
        raise FatalConnectorError(
            f"no table {', '.join(map(repr, missing))} in {where}, or no right to see it; there "
            f"are: {', '.join(there) or 'none'} (another schema is named by --option schema=NAME)"
        )
    return list(dict.fromkeys(source.tables)) or there


def read_relation(conn: Connection, dialect: Dialect, source: SqlSource, name: str) -> Relation:
    """Read how a table is made. Raises FatalConnectorError where it cannot be read as asked."""
    inspector = inspect(conn)
    table = Named(name, source.schema)
    with warnings.catch_warnings():
        # Types that SQLAlchemy does not know are read as text.
        warnings.simplefilter("ignore", SAWarning)
        try:
            reflected = inspector.get_columns(name, source.schema)
        except NoSuchTableError:
            raise FatalConnectorError(f"the table {name!r} is no longer there") from None
        columns = {each.name: each for each in dialect.columns(conn, table, reflected)}
        key = source.keys.get(name) or _key(inspector, table, columns)
    unknown = [each for each in key if each not in columns]
    if unknown:
        raise _no_column(name, unknown[0], columns, "keys")
    order = dialect.order(conn, table, [columns[each] for each in key])
    growing = _growing(source, name, columns)
    if growing is not None and not order:
        raise FatalConnectorError(
            f"table {name!r} is to be read by {growing.name!r}, but nothing tells its rows apart: "
            f'say what does, with --option keys=\'{{"{name}": ["COLUMN"]}}\''
        )
    return Relation(
        name=name, schema=source.schema, columns=tuple(columns.values()), key=tuple(key),
        order=order, growing=growing,
    )  # fmt: skip


def _views(inspector: Inspector, schema: str | None) -> list[str]:
    views = inspector.get_view_names(schema)
    if inspector.dialect.name == "postgresql":
        views += inspector.get_materialized_view_names(schema)
        foreign: Any = inspector
        views += foreign.get_foreign_table_names(schema)
    return views


def _key(inspector: Inspector, table: Named, columns: Mapping[str, Column]) -> Sequence[str]:
    """Take the primary key, or else the first unique index without nulls."""
    primary = inspector.get_pk_constraint(table.name, table.schema)["constrained_columns"]
    if primary:
        return primary
    unique: list[Sequence[str | None]] = [
        index["column_names"]
        for index in inspector.get_indexes(table.name, table.schema)
        # An index of some rows only does not tell all of them apart.
        if index["unique"]
        and not any(each.endswith("_where") for each in index.get("dialect_options", {}))
    ]
    constraints = inspector.get_unique_constraints(table.name, table.schema)
    unique += [constraint["column_names"] for constraint in constraints]
    for names in unique:
        # The name of an expression is None.
        found = [columns[name] for name in names if name is not None and name in columns]
        if len(found) == len(names) and not any(column.nullable for column in found):
            return [column.name for column in found]
    return ()


def _growing(source: SqlSource, table: str, columns: Mapping[str, Column]) -> Column | None:
    name = source.incremental.get(table)
    if name is None:
        return columns.get(source.incremental.get(EVERY, ""))
    if name not in columns:
        raise _no_column(table, name, columns, "incremental")
    return columns[name]


def _no_column(
    table: str, name: str, columns: Mapping[str, Column], option: str
) -> FatalConnectorError:
    return FatalConnectorError(
        f"{option}: table {table!r} has no column {name!r}; it has {', '.join(columns)}"
    )
