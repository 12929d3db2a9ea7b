"""Reads MariaDB and MySQL."""

import contextlib
import socket
from collections.abc import Mapping, Sequence
from datetime import timedelta
from math import ceil
from typing import Any, Final

import pymysql
from pymysql.constants import FIELD_TYPE
from pymysql.converters import encoders
from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    NullPool,
    bindparam,
    cast,
    create_engine,
    func,
    inspect,
    literal_column,
    text,
    types,
)
from sqlalchemy import column as column_of
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import URL

from milepost.connectors.sql.dialect import Column, Mark, Named
from milepost.connectors.sql.values import (
    column_type,
    decimal_converter,
    encoded,
    parsed,
)
from milepost.errors import (
    AuthenticationRefused,
    ConnectorError,
    FatalConnectorError,
    RetryableConnectorError,
)

# What is not a number of these stays the text, or the bytes, that the server sent.
_LOADERS: Final[dict[Any, Any]] = {
    **encoders,
    **dict.fromkeys(
        (FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.INT24, FIELD_TYPE.LONG,
         FIELD_TYPE.LONGLONG, FIELD_TYPE.YEAR),
        int,
    ),
    **dict.fromkeys((FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE), float),
}  # fmt: skip

# A mode that refuses no date that the table has, zero dates included; moments in UTC; a page may be
# stored for a while before the next row is asked for; whole keys are sorted, not 1,024 bytes.
_SESSION: Final = (
    "SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00', "
    "net_write_timeout = {seconds}, wait_timeout = {seconds}, max_sort_length = 16384"
)

_JSON_CHECKS: Final = text("""
SELECT check_clause FROM information_schema.check_constraints
WHERE constraint_schema = coalesce(:schema, database()) AND table_name = :name
""")

_REFUSED: Final = frozenset({1045, 1130, 1251, 1275, 1524, 1698, 1820, 1862, 2059, 4151})
_NO_RIGHT: Final = frozenset({1044, 1142, 1143, 1227, 1356, 1370})
# Too many connections, shutdown, lock waits, deadlocks, time limits, a table altered meanwhile,
# and what the driver says of broken connections.
_PASSES: Final = frozenset(
    {1020, 1021, 1037, 1040, 1041, 1053, 1077, 1079, 1158, 1159, 1160, 1161, 1203, 1205, 1213,
     1226, 1317, 1412, 1614, 1927, 1969, 2002, 2003, 2005, 2006, 2013, 2014, 2055, 3024}
)  # fmt: skip


class MysqlDialect:
    """MariaDB or MySQL: each walk is one consistent snapshot of its InnoDB tables."""

    nulls_last = False
    # They have row values, but compare them row by row, without an index.
    row_values = False
    drains = True
    title = "MariaDB or MySQL"

    def __init__(self, url: URL, *, connect_within: timedelta, answer_within: timedelta) -> None:
        seconds = ceil(answer_within.total_seconds())
        self._engine = create_engine(
            url.update_query_dict({"charset": "utf8mb4"}), poolclass=NullPool,
            connect_args={
                "connect_timeout": ceil(connect_within.total_seconds()),
                "read_timeout": seconds,
                "write_timeout": seconds,
                "init_command": _SESSION.format(seconds=max(seconds, 60)),
                "conv": _LOADERS,
                "program_name": "milepost",
            },
            hide_parameters=True,
        )  # fmt: skip

    @property
    def engine(self) -> Engine:
        """Makes the connections; none is kept."""
        return self._engine

    def begin(self, conn: Connection) -> None:
        """Begin the transaction."""
        conn.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        conn.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

    def tables(self, conn: Connection, schema: str | None) -> Sequence[str]:
        """Name the tables."""
        return inspect(conn).get_table_names(schema)

    def columns(
        self, conn: Connection, table: Named, reflected: Sequence[Mapping[str, Any]]
    ) -> Sequence[Column]:
        """Ask MariaDB which texts are JSON: there it is a name for text with a check."""
        checks: set[str] = set()
        if getattr(conn.dialect, "is_mariadb", False):
            asked = {"schema": table.schema, "name": table.name}
            checks = {check.lower() for check in conn.scalars(_JSON_CHECKS, asked)}
        return [_column(each, is_json=_json_check(each["name"]) in checks) for each in reflected]

    def order(
        self,
        conn: Connection,  # noqa: ARG002 (as the port has it)
        table: Named,  # noqa: ARG002
        key: Sequence[Column],
    ) -> tuple[Column, ...]:
        """Add nothing: InnoDB shows nobody its hidden row ids."""
        return tuple(key)

    def newest(self, column: Column) -> ColumnElement[Any]:
        """Cap moments at now: one in the future would hide all changes until then."""
        newest: ColumnElement[Any] = func.max(column.mark)
        return func.least(newest, literal_column("UTC_TIMESTAMP(6)")) if column.moment else newest

    def since(self, column: Column, mark: Mark, look_back: timedelta) -> ColumnElement[Any]:
        """Look back from moments only."""
        bound = column.bind(mark)
        if not column.moment or str(mark).startswith("0000"):
            return bound
        earlier: ColumnElement[Any] = literal_column(
            f"INTERVAL {look_back.total_seconds():.6f} SECOND"
        )
        return cast(bound, mysql.DATETIME(fsp=6)) - earlier

    def interrupt(self, connection: Any, *, cut: bool) -> None:
        """Kill the query, over a second connection."""
        with contextlib.suppress(Exception):
            if cut:
                # PyMySQL has no words for it. The result would go on reading when it is closed.
                if connection._result is not None:  # noqa: SLF001
                    connection._result.unbuffered_active = False  # noqa: SLF001
                connection._sock.shutdown(socket.SHUT_RDWR)  # noqa: SLF001
            else:
                with self._engine.connect() as second:
                    second.exec_driver_sql(f"KILL QUERY {connection.thread_id()}")

    def refusal(self, error: Exception) -> ConnectorError:
        """Tell by the number of the error."""
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        said = f"{error.args[1]}" if len(error.args) > 1 else str(error)
        if number in _REFUSED:
            return AuthenticationRefused(f"{said} ({number}): mend user and password")
        if number in _NO_RIGHT:
            return FatalConnectorError(
                f"{said} ({number}): GRANT SELECT on it to the user, and SHOW VIEW if it is a view"
            )
        if number in _PASSES or isinstance(error, pymysql.InterfaceError):
            return RetryableConnectorError(f"{said} ({number})")
        return FatalConnectorError(f"{said} ({number})" if number else said)


def _column(reflected: Mapping[str, Any], *, is_json: bool) -> Column:
    of = reflected["type"]
    plain: ColumnElement[Any] = column_of(reflected["name"])
    read: ColumnElement[Any] = plain
    order: ColumnElement[Any] = plain
    convert: Any = None
    operand: types.TypeEngine[Any] | None = None
    kind = column_type(of)
    match of:
        case mysql.ENUM() | mysql.SET():
            # Sorted by the number of the member, but compared with a text as text.
            order = plain + literal_column("0")
        case mysql.BIT():
            kind, convert = "integer", int.from_bytes
            order = plain + literal_column("0")
        case mysql.YEAR():
            kind = "integer"
        case types.Float():
            # A FLOAT is shown with 6 digits, and is another number: this is the one it is.
            read = order = plain * literal_column("1e0")
        case types.Numeric():
            convert = decimal_converter(of)
            # Compared with a text it would be taken for a float.
            operand = mysql.DECIMAL(of.precision, of.scale)
        case types.JSON():
            convert = parsed
        case types.String() if is_json:
            kind, convert = "json", parsed
        case mysql.TIMESTAMP():
            kind, convert = "timestamp", _moment
        case types.DateTime():
            convert = _naive
        case types.String() | types.Integer():
            pass
        case _:
            convert = _bytes

    def bind(mark: Mark) -> ColumnElement[Any]:
        bound = bindparam(None, mark, types.NullType(), unique=True)
        return bound if operand is None else cast(bound, operand)

    return Column(
        name=reflected["name"],
        type=kind,
        nullable=reflected["nullable"],
        moment=isinstance(of, DateTime | types.Date),
        read=read,
        convert=convert,
        order=order,
        mark=order,
        bind=bind,
    )


def _json_check(name: str) -> str:
    return f"json_valid(`{name.replace('`', '``')}`)".lower()


def _naive(written: str) -> str:
    # A zero date is no moment, and stays what it was.
    return written if written.startswith("0000") else written.replace(" ", "T")


def _moment(written: str) -> str:
    # The session's zone is UTC.
    return written if written.startswith("0000") else f"{written.replace(' ', 'T')}+00:00"


def _bytes(value: bytes | str) -> str:
    return encoded(value) if isinstance(value, bytes) else value
