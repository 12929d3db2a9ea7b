"""Chooses what reads a database."""

from sqlalchemy.engine import URL

from milepost.connectors.sql.dialect import Dialect
from milepost.connectors.sql.source import SqlSource
from milepost.errors import FatalConnectorError


def dialect_of(url: URL, source: SqlSource) -> Dialect:
    """Choose by the URL. Raises FatalConnectorError that says how to install a missing driver."""
    match url.get_backend_name():
        case "sqlite":
            from milepost.connectors.sql.sqlite import SqliteDialect

            return SqliteDialect(url)
        case "postgresql":
            try:
                from milepost.connectors.sql.postgres import PostgresDialect
            except ImportError:
                raise _missing("PostgreSQL", "psycopg", "postgres") from None
            return PostgresDialect(
                url, connect_within=source.connect_within, answer_within=source.answer_within
            )
        case _:
            try:
                from milepost.connectors.sql.mysql import MysqlDialect
            except ImportError:
                raise _missing("MariaDB and MySQL", "PyMySQL", "mysql") from None
            return MysqlDialect(
                url, connect_within=source.connect_within, answer_within=source.answer_within
            )


def _missing(what: str, driver: str, extra: str) -> FatalConnectorError:
    return FatalConnectorError(
        f"reading {what} needs the driver {driver}: pip install 'milepost[{extra}]'"
    )
