"""Reads PostgreSQL."""

import contextlib
import os
import re
import socket
from collections.abc import Mapping, Sequence
from datetime import timedelta
from math import ceil
from typing import Any, Final

import psycopg
from psycopg.types import TypeInfo
from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    NullPool,
    String,
    Text,
    bindparam,
    case,
    cast,
    create_engine,
    event,
    func,
    inspect,
    select,
    text,
    types,
)
from sqlalchemy import column as column_of
from sqlalchemy.engine import URL

from milepost.connectors.sql.dialect import Column, Mark, Named
from milepost.connectors.sql.postgres_values import register
from milepost.connectors.sql.values import column_type, decimal_converter
from milepost.errors import (
    AuthenticationRefused,
    ConnectorError,
    FatalConnectorError,
    RetryableConnectorError,
)

# For this transaction only: behind PgBouncer the connection goes on to somebody else. The first
# ones are how values are written, so that what is read can be given back.
_SETTINGS: Final = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "3",
    "bytea_output": "hex",
}

_TYPES: Final = text("""
SELECT attname, format_type(atttypid, atttypmod), typtype, typelem, atttypid, typdelim
FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
WHERE attrelid = to_regclass(:relation) AND attnum > 0 AND NOT attisdropped
""")

_PARTITIONS: Final = text("""
SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relispartition AND nspname = coalesce(:schema, current_schema())
""")

# Of connecting: libpq tells only the server's words.
_REFUSED: Final = re.compile(
    r"authentication failed|no password supplied|password was not provided|pg_hba\.conf"
    r'|role ".*" (does not exist|is not permitted to log in)|SASL|certificate'
)
_NO_DATABASE: Final = re.compile(r'database ".*" does not exist|permission denied for database')
# Of SQLSTATE: connections, idling, rollbacks, resources, locks, intervention, the system.
_PASSES: Final = ("08", "25P03", "40", "53", "55P03", "57", "58", "72")


class PostgresDialect:
    """PostgreSQL: each walk is one transaction, REPEATABLE READ and READ ONLY."""

    nulls_last = True
    row_values = True
    drains = False
    title = "PostgreSQL"

    def __init__(self, url: URL, *, connect_within: timedelta, answer_within: timedelta) -> None:
        self._answer_within = answer_within
        options = {
            "connect_timeout": max(2, ceil(connect_within.total_seconds())),
            "application_name": "milepost",
            "client_encoding": "utf8",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 25_000,
            # Statements that are prepared by name get lost behind PgBouncer.
            "prepare_threshold": None,
        }
        given = {name: value for name, value in options.items() if name not in url.query}
        self._engine = create_engine(
            url, poolclass=NullPool, connect_args=given, isolation_level="REPEATABLE READ",
            hide_parameters=True,
        )  # fmt: skip

        @event.listens_for(self._engine, "connect")
        def prepare(connection: psycopg.Connection, _: object) -> None:
            register(connection)
            connection.read_only = True

    @property
    def engine(self) -> Engine:
        """Makes the connections; none is kept."""
        return self._engine

    def begin(self, conn: Connection) -> None:
        """Begin the transaction."""
        # The pages are stored while it stands idle.
        wait = str(ceil(self._answer_within.total_seconds() * 1000))
        settings = {
            **_SETTINGS,
            "statement_timeout": wait,
            "idle_in_transaction_session_timeout": wait,
        }
        conn.execute(select(*(func.set_config(*each, True) for each in settings.items())))

    def tables(self, conn: Connection, schema: str | None) -> Sequence[str]:
        """Name the tables; partitions are read with the table that they are of."""
        partitions = set(conn.scalars(_PARTITIONS, {"schema": schema}))
        return [name for name in inspect(conn).get_table_names(schema) if name not in partitions]

    def columns(
        self, conn: Connection, table: Named, reflected: Sequence[Mapping[str, Any]]
    ) -> Sequence[Column]:
        """Read values as the server writes them, and compare with the same text cast back."""
        parts = [part for part in (table.schema, table.name) if part]
        relation = ".".join('"' + part.replace('"', '""') + '"' for part in parts)
        found = {row[0]: row[1:] for row in conn.execute(_TYPES, {"relation": relation})}
        for name, _, element, oid, delimiter in found.values():
            if element and name.endswith("[]"):
                info = TypeInfo(name, element, oid, delimiter=delimiter)
                info.register(conn.connection.driver_connection)
        return [_column(each, found[each["name"]][0]) for each in reflected]

    def order(
        self,
        conn: Connection,  # noqa: ARG002 (as the port has it)
        table: Named,  # noqa: ARG002
        key: Sequence[Column],
    ) -> tuple[Column, ...]:
        """Add nothing: where a row is (ctid) changes with every update."""
        return tuple(key)

    def newest(self, column: Column) -> ColumnElement[Any]:
        """Cap moments at now: one in the future would hide all changes until then."""
        newest: ColumnElement[Any] = func.max(column.order)
        if column.moment:
            # Not least(), which would make now of no value at all.
            now = column.bind("now")
            newest = case((newest > now, now), else_=newest)
        return cast(newest, Text)

    def since(self, column: Column, mark: Mark, look_back: timedelta) -> ColumnElement[Any]:
        """Look back from moments only."""
        bound = column.bind(mark)
        if not column.moment or mark in {"infinity", "-infinity"}:
            return bound
        return bound - func.make_interval(0, 0, 0, 0, 0, 0, look_back.total_seconds())

    def interrupt(self, connection: Any, *, cut: bool) -> None:
        """Ask the server to cancel, over a connection of its own."""
        with contextlib.suppress(psycopg.Error, OSError):
            if cut:
                # A copy of the descriptor: libpq closes its own when it sees the end.
                with socket.socket(fileno=os.dup(connection.fileno())) as line:
                    line.shutdown(socket.SHUT_RDWR)
            else:
                connection.cancel_safe(timeout=2)

    def refusal(self, error: Exception) -> ConnectorError:
        """Tell by the SQLSTATE, and where there is none by the server's words."""
        said = str(error).strip()
        state = getattr(error, "sqlstate", None)
        if state is None:
            if _REFUSED.search(said):
                return AuthenticationRefused(
                    f"{_last_line(said)}: mend user and password, or let the server admit them "
                    "(pg_hba.conf)"
                )
            if _NO_DATABASE.search(said):
                return FatalConnectorError(f"{_last_line(said)}: mend the URL")
            if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
                return RetryableConnectorError(_last_line(said))
        elif state.startswith("28"):
            return AuthenticationRefused(f"{_last_line(said)}: mend user and password")
        elif state.startswith(_PASSES):
            return RetryableConnectorError(said.partition("\n")[0])
        elif state == "42501":
            return FatalConnectorError(
                f"{said.partition(chr(10))[0]}: GRANT SELECT on it to the user, and USAGE on its "
                "schema"
            )
        return FatalConnectorError(said.partition("\n")[0] or type(error).__name__)


class _As(types.UserDefinedType[Any]):
    """A type by the name that the server has for it."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        return self.name


def _column(reflected: Mapping[str, Any], type_name: str) -> Column:
    of = reflected["type"]
    read: ColumnElement[Any] = column_of(reflected["name"])
    named = _As(type_name)

    def bind(mark: Mark) -> ColumnElement[Any]:
        return cast(bindparam(None, mark, String, unique=True), named)

    convert = decimal_converter(of) if isinstance(of, types.Numeric) else None
    return Column(
        name=reflected["name"],
        type=column_type(of),
        nullable=reflected["nullable"],
        moment=isinstance(of, DateTime | types.Date),
        read=read,
        convert=convert,
        order=read,
        # As text, because no value of Python is exact for all types: infinity, years before 1.
        mark=cast(read, Text),
        bind=bind,
    )


def _last_line(said: str) -> str:
    # One line for each address of the host that was tried.
    return said.splitlines()[-1].strip() if said else "the server gave no reason"
