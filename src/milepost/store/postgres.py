"""Connections to PostgreSQL of which neither end waits for the other for ever."""

import select
import time
from datetime import timedelta
from math import ceil
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

R = TypeVar("R")

# How long somebody who is not patient waits for one of the connections of a pool.
POOL_SECONDS: Final = 30

# A connection that was in use within so many seconds is taken without asking whether it
# lives, if the server has sent nothing meanwhile.
ALIVE_FOR: Final = 1.0

# A server that is gone without a word is noticed within 25 s: 10 + 3 * 5.
_CLIENT: Final = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}

# What the server does about us. Without it the locks of a machine that died, or of a process that
# was paused, stay in its open transaction, and its jobs are neither rescued nor cancelled. Idle is
# only the time between two statements of a transaction, so no statement is too long.
_SERVER: Final = {
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25s",
}
# Not as options of the connection, which PgBouncer refuses. What the server's configuration, the
# role, the database or the URL says is left as it is, and what an old server lacks is left out.
_PROTECT: Final = f"""
SELECT set_config(name, wanted, false)
FROM (VALUES {", ".join(str(each) for each in _SERVER.items())}) AS ours (name, wanted)
JOIN pg_settings USING (name) WHERE source = 'default'
"""


def reach(url: URL) -> dict[str, Any]:
    """Say how to notice that the server is gone, except where the URL itself says it."""
    return {name: value for name, value in _CLIENT.items() if name not in url.query}


def open_engine(url: URL, *, answer_within: timedelta | None, patient: bool) -> Engine:
    """Make the engine.

    `answer_within` is for statements that are known to be short. Who is `patient` waits for one of
    the connections however long the others need theirs.
    """
    options = reach(url)
    if answer_within is not None and "connect_timeout" in options:
        # psycopg takes whole seconds, and at least 2.
        options["connect_timeout"] = min(10, max(2, ceil(answer_within.total_seconds())))
    engine = create_engine(
        url, pool_size=5, max_overflow=10, connect_args=options,
        pool_timeout=None if patient else POOL_SECONDS,
        # Parameters are people's data: errors go into logs and into the jobs' history.
        hide_parameters=True,
    )  # fmt: skip
    if answer_within is not None:

        @event.listens_for(engine, "do_connect")
        def connect(_: object, __: object, args: Any, options: Any) -> psycopg.Connection:
            connection = _Impatient.connect(*args, **options)
            connection.answer_within = answer_within.total_seconds()
            return connection

    @event.listens_for(engine, "connect")
    def protect(connection: psycopg.Connection, _: object) -> None:
        try:
            # Outside of a transaction, whose rollback would take it back.
            connection.autocommit = True
            connection.execute(_PROTECT)
            connection.autocommit = False
        except BaseException:
            # The pool has not taken it yet, so nobody else would close it.
            connection.close()
            raise

    _ask_those_that_have_rested(engine)
    return engine


def _ask_those_that_have_rested(engine: Engine) -> None:
    """Find out whether a pooled connection still lives, where there is reason to ask.

    SQLAlchemy's own `pool_pre_ping` asks each time: a journey to the server that a transaction of a
    few statements feels.
    """

    @event.listens_for(engine, "checkin")
    def note(_: object, record: ConnectionPoolEntry) -> None:
        record.info["milepost_used_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ask(connection: psycopg.Connection, record: ConnectionPoolEntry, _: object) -> None:
        used_at = record.info.get("milepost_used_at")
        if used_at is None or (time.monotonic() - used_at < ALIVE_FOR and _is_quiet(connection)):
            return
        try:
            connection.execute("")
            connection.rollback()
        except psycopg.Error as error:
            # The pool takes another one, or makes it.
            raise DisconnectionError(str(error)) from error


def _is_quiet(connection: psycopg.Connection) -> bool:
    """Whether the server has sent nothing meanwhile, as it does where it ends a connection."""
    if connection.closed:
        return False
    told = select.poll()
    told.register(connection.fileno(), select.POLLIN)
    return not told.poll(0)


def means_lost(error: Exception, conn: Connection | None) -> bool:
    """Whether an error means that the connection broke; without one, that none could be made."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if conn is None:
        return isinstance(cause, psycopg.OperationalError)
    if isinstance(cause, psycopg.errors.IdleInTransactionSessionTimeout) or conn.closed:
        # The server ended what stood idle: the doing of whoever stood, and he must learn of it.
        return False
    driver: Any = None if conn.invalidated else conn.connection.driver_connection
    return driver is None or bool(driver.closed)


class _Impatient(psycopg.Connection):
    """Gives up on a server that takes what it is sent and does not answer.

    TCP does not notice that: a proxy in between, or the kernel of a server that hangs, still
    acknowledges every packet.
    """

    answer_within = 0.0

    def wait(self, gen: PQGen[R], *args: Any, **options: Any) -> R:
        """Wait as psycopg does, but not for ever."""
        return super().wait(self._bounded(gen), *args, **options)

    def _bounded(self, gen: PQGen[R]) -> PQGen[R]:
        heard_at = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                now = time.monotonic()
                if ready:
                    heard_at = now
                elif now - heard_at > self.answer_within:
                    # What comes now is no answer to what is asked next.
                    self.pgconn.finish()
                    raise psycopg.OperationalError(
                        f"the server has not answered within {self.answer_within:g} s"
                    )
                wanted = gen.send(ready)
        except StopIteration as ended:
            answer: R = ended.value
            return answer
