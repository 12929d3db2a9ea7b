"""One connection of a connector, from its first use to its end."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from milepost.connectors.secrets import Secrets
from milepost.connectors.sql.dialect import Dialect
from milepost.connectors.sql.sqlite import SqliteLocked
from milepost.errors import ConnectorError, FatalConnectorError, RetryableConnectorError

R = TypeVar("R")

# A writer of SQLite keeps others out for one transaction.
_LOCKED_SECONDS: Final = 30


class Line:
    """Asks a database. Only `interrupt` may be called from another thread.

    `shown` names the source in what is said of errors.
    """

    def __init__(self, dialect: Dialect, secrets: Secrets, shown: str) -> None:
        self._dialect = dialect
        self._secrets = secrets
        self._shown = shown
        self._conn: Connection | None = None
        self._driver: Any = None
        self._given_up = threading.Event()

    @property
    def is_open(self) -> bool:
        """Whether the server has admitted us."""
        return self._conn is not None

    def ask(self, work: Callable[[Connection], R]) -> R:
        """Do work on the connection, which is opened by the first.

        Raises a ConnectorError that says what the caller must do.
        """
        until = time.monotonic() + _LOCKED_SECONDS
        while True:
            try:
                with self._refusals():
                    return work(self._connected())
            except SqliteLocked:
                if time.monotonic() > until or self._given_up.wait(0.02):
                    raise

    def interrupt(self, cut: bool) -> None:  # noqa: FBT001 (crossing's Interrupt)
        """End what `ask` waits for; `cut` the connection, if need be."""
        self._given_up.set()
        if self._driver is not None:
            self._dialect.interrupt(self._driver, cut=cut)

    def close(self, *, cut: bool = False) -> None:
        """Close the connection; `cut` it where the server is still sending."""
        if self._conn is None:
            return
        if cut:
            self._dialect.interrupt(self._driver, cut=True)
        with suppress(SQLAlchemyError):
            if cut:
                self._conn.invalidate()
            self._conn.close()

    def _connected(self) -> Connection:
        if self._conn is None:
            conn = self._dialect.engine.connect()
            self._driver = conn.connection.driver_connection
            self._conn = conn
            self._dialect.begin(conn)
        if self._given_up.is_set():
            raise RetryableConnectorError("the wait for it was given up")
        return self._conn

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            cause = error.orig if isinstance(error.orig, Exception) else error
            refusal = self._dialect.refusal(cause)
            if error.connection_invalidated:
                # A server that was not waited for any longer does not notice, and goes on.
                self._dialect.interrupt(self._driver, cut=False)
                if isinstance(refusal, FatalConnectorError):
                    refusal = RetryableConnectorError(str(refusal))
            raise self._named(refusal) from None
        except SQLAlchemyError as error:
            raise self._named(FatalConnectorError(str(error))) from None
        except UnicodeDecodeError as error:
            raise self._named(
                FatalConnectorError(f"a text is not what the database says it is: {error}")
            ) from None
        except RuntimeError as error:
            # PyMySQL, where a way to log in needs another package.
            raise self._named(FatalConnectorError(str(error))) from None

    def _named(self, error: ConnectorError) -> ConnectorError:
        return type(error)(f"{self._shown}: {self._secrets.hide(str(error))}")
