"""Reads SQLite files."""

import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    LargeBinary,
    NullPool,
    bindparam,
    cast,
    create_engine,
    func,
    inspect,
    literal_column,
    types,
)
from sqlalchemy import column as column_of
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from milepost.connectors.sql.dialect import Column, Mark, Named
from milepost.connectors.sql.values import column_type, encoded, floating, parsed
from milepost.errors import ConnectorError, FatalConnectorError, RetryableConnectorError

# By these names, unless a column has taken one of them.
_ROW_IDS: Final = ("rowid", "_rowid_", "oid")


class SqliteLocked(RetryableConnectorError):
    """A writer has the file; it takes a moment."""


class SqliteDialect:
    """SQLite: each page is a read of its own, so that no writer waits for a walk."""

    nulls_last = False
    row_values = True
    drains = False
    title = "SQLite"

    def __init__(self, url: URL) -> None:
        self._path = url.database or ""
        self._engine = create_engine(
            "sqlite://", creator=self._connect, poolclass=NullPool, hide_parameters=True
        )

    @property
    def engine(self) -> Engine:
        """Makes the connections; none is kept."""
        return self._engine

    def begin(self, conn: Connection) -> None:
        """Begin nothing: a statement alone is a transaction."""

    def tables(self, conn: Connection, schema: str | None) -> Sequence[str]:
        """Name the tables."""
        return inspect(conn).get_table_names(schema)

    def columns(
        self,
        conn: Connection,  # noqa: ARG002 (as the port has it)
        table: Named,  # noqa: ARG002
        reflected: Sequence[Mapping[str, Any]],
    ) -> Sequence[Column]:
        """Read values as they are stored, whatever the columns are declared as."""
        return [_column(each) for each in reflected]

    def order(self, conn: Connection, table: Named, key: Sequence[Column]) -> tuple[Column, ...]:
        """Add the row id, because a key may hold nulls, and may be unique by another collation.

        A view has none, and neither has a table WITHOUT ROWID, which has a key in their place.
        """
        taken = {
            each["name"].lower() for each in inspect(conn).get_columns(table.name, table.schema)
        }
        name = next((each for each in _ROW_IDS if each not in taken), None)
        if name is None or not self._has_row_id(conn, table, name):
            return tuple(key)
        row_id = _row_id(name)
        return (row_id,) if _is_row_id(conn, table, key) else (*key, row_id)

    def newest(self, column: Column) -> ColumnElement[Any]:
        """Take the largest: what stands for a moment here, nobody knows."""
        return func.max(column.mark)

    def since(self, column: Column, mark: Mark, look_back: timedelta) -> ColumnElement[Any]:
        """Look back from texts that are moments."""
        return column.bind(_earlier(mark, look_back) if isinstance(mark, str) else mark)

    def interrupt(self, connection: Any, *, cut: bool) -> None:  # noqa: ARG002
        """Stop the query."""
        with contextlib.suppress(sqlite3.Error):
            connection.interrupt()

    def refusal(self, error: Exception) -> ConnectorError:
        """Tell by what SQLite calls the error."""
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return SqliteLocked(f"{self._path}: a writer holds the file: {error}")
        if name.startswith(("SQLITE_INTERRUPT", "SQLITE_IOERR", "SQLITE_PROTOCOL")):
            return RetryableConnectorError(f"{self._path}: {error}")
        if name.startswith("SQLITE_CANTOPEN"):
            return FatalConnectorError(
                f"{self._path}: no such file, or no right to read it: mend the URL "
                "(sqlite:////from/the/root, sqlite:///from/here)"
            )
        return FatalConnectorError(f"{self._path}: {error}")

    def _connect(self) -> sqlite3.Connection:
        # rw makes no file that is not there; unlike ro it can read what a writer that crashed has
        # left. The timeout is short because a thread that sleeps in SQLite cannot be interrupted.
        connection = sqlite3.connect(
            f"file:{quote(self._path)}?mode=rw", uri=True, timeout=0.05, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
        try:
            connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _has_row_id(self, conn: Connection, table: Named, name: str) -> bool:
        preparer = conn.dialect.identifier_preparer
        place = preparer.quote_identifier(table.name)
        if table.schema is not None:
            place = f"{preparer.quote_identifier(table.schema)}.{place}"
        if table.name in inspect(conn).get_view_names(table.schema):
            return False
        try:
            # Not quoted: in quotes it would be a text where there is no such column.
            conn.exec_driver_sql(f"SELECT {name} FROM {place} LIMIT 0")
        except DBAPIError as error:
            if isinstance(self.refusal(error.orig or error), SqliteLocked):
                raise
            return False
        return True


def _is_row_id(conn: Connection, table: Named, key: Sequence[Column]) -> bool:
    """Whether the key is the row id by another name: `INTEGER PRIMARY KEY`, so spelled."""
    if len(key) != 1:
        return False
    pragma = f"PRAGMA table_info({conn.dialect.identifier_preparer.quote_identifier(table.name)})"
    if table.schema is not None:
        pragma = pragma.replace("PRAGMA ", f"PRAGMA {table.schema}.")
    declared = {row[1]: (row[2], row[5]) for row in conn.exec_driver_sql(pragma)}
    kind, place = declared.get(key[0].name, ("", 0))
    return str(kind).upper() == "INTEGER" and place == 1


def _row_id(name: str) -> Column:
    read: ColumnElement[Any] = literal_column(name)
    return Column(
        name=name, type="integer", nullable=False, moment=False, read=read, convert=None,
        order=read, mark=read, bind=_bind,
    )  # fmt: skip


def _column(reflected: Mapping[str, Any]) -> Column:
    read: ColumnElement[Any] = column_of(reflected["name"])
    convert: Callable[[Any], Any] = _plain
    match reflected["type"]:
        case types.Boolean():
            convert = _boolean
        case types.JSON():
            convert = _json
        case _:
            pass
    return Column(
        name=reflected["name"],
        type=column_type(reflected["type"]),
        nullable=reflected["nullable"],
        moment=False,
        read=read,
        convert=convert,
        order=read,
        mark=read,
        bind=_bind,
    )


def _boolean(value: Any) -> Any:
    # Any column may hold anything, whatever it is declared as.
    return bool(value) if value in {0, 1} else _plain(value)


def _json(value: Any) -> Any:
    try:
        return parsed(value) if isinstance(value, str) else _plain(value)
    except ValueError:
        return _plain(value)


def _plain(value: Any) -> Any:
    match value:
        case float():
            return floating(value)
        case bytes():
            return encoded(value)
        case str() if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                return encoded(value.encode("utf-8", "surrogateescape"))
            return value
        case _:
            return value


def _bind(mark: Mark) -> ColumnElement[Any]:
    if isinstance(mark, str) and not mark.isascii():
        try:
            mark.encode()
        except UnicodeEncodeError:
            octets = mark.encode("utf-8", "surrogateescape")
            return cast(bindparam(None, octets, LargeBinary, unique=True), types.Text)
    return bindparam(None, mark, types.NullType(), unique=True)


def _earlier(moment: str, look_back: timedelta) -> str:
    """Write an earlier moment as the column writes them: `2024-05-06 07:08:09`, or its beginning.

    Any longer spelling of the same second is greater. What is no moment stays as it is.
    """
    try:
        if len(moment) == len("2024-05-06"):
            return (datetime.fromisoformat(moment) - look_back).date().isoformat()
        begun = datetime.fromisoformat(moment[:19]) - look_back
        return begun.replace(microsecond=0).isoformat(sep=moment[10])
    except (ValueError, OverflowError, IndexError):
        return moment
