"""Inserts that know what to do where a row is there already."""

from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_into(dialect: str, table: Table) -> Any:
    """An insert of a database's own kind, which has on_conflict_do_update and …_do_nothing.

    SQLAlchemy has one class for each database, and none for both.
    """
    return (sqlite if dialect == "sqlite" else postgresql).insert(table)
