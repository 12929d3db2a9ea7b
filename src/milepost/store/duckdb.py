"""Connections to a DuckDB file, of which one process at a time has one."""

from typing import Any, Final

import duckdb
from sqlalchemy import Engine, create_engine
from sqlalchemy.dialects.postgresql.base import PGCompiler
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

_LOCKED: Final = "Could not set lock"


def open_engine(url: URL) -> Engine:
    """Make the engine; all its connections share the one database of this process."""
    engine = create_engine(
        url,
        # Parameters are people's data: errors go into logs and into the jobs' history.
        hide_parameters=True,
    )
    engine.dialect.statement_compiler = _Compiler
    return engine


def means_locked(error: Exception) -> bool:
    """Whether an error means that another process has the file."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, duckdb.IOException) and _LOCKED in str(cause)


class _Compiler(PGCompiler):
    def for_update_clause(self, select: Any, **options: Any) -> str:  # noqa: ARG002
        """Leave it out: the database has no locks of rows, and its writers take turns."""
        return ""
