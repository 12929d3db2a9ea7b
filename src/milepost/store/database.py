"""One database: how transactions begin, and the one place where async code crosses over."""

import asyncio
import contextlib
import contextvars
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from milepost.database_urls import DUCKDB, FILES, check_file, check_folder, parse_url
from milepost.errors import ConfigurationError, DestinationLocked, StoreError, StoreUnavailable
from milepost.jobs.events import Observer, StoreConnectionLost
from milepost.store.clock import Clock, DatabaseClock, HostClock

P = ParamSpec("P")
R = TypeVar("R")

# How long a SQLite writer waits for the others. Long: giving up helps nobody.
BUSY_SECONDS: Final = 30
OLDEST_SQLITE: Final = (3, 35, 0)  # RETURNING, UPDATE FROM, DROP COLUMN


class Database:
    """SQLite or PostgreSQL, or DuckDB for data, behind one engine. `url` shows no password."""

    def __init__(self, engine: Engine, *, clock: Clock | None = None, threads: int = 4) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self.is_file = engine.dialect.name in FILES
        self.clock: Clock = clock or (HostClock() if self.is_file else DatabaseClock())
        # A file has one writer. Those of this process take turns here, where waiting is fair
        # and ends at once, instead of in SQLite's sleeping busy handler.
        self._turn: contextlib.AbstractContextManager[Any] = (
            _Turn() if self.is_file else contextlib.nullcontext()
        )
        self._closed = False
        # Told when a connection is lost; siblings tell the same.
        self.observe: Observer = lambda _: None
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="milepost-store")

    @property
    def url(self) -> str:
        """The URL without its password."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        """Begin a transaction that may write; commits at the end of the block."""
        after: list[Callable[[], None]] = []
        with self._turn, self.connect() as conn, conn.begin():
            conn.execution_options(milepost_after=after)
            yield conn
        for act in after:
            act()

    def after_commit(self, conn: Connection, act: Callable[[], None]) -> None:
        """Do something once the transaction has committed; nothing in a foreign transaction."""
        after = conn.get_execution_options().get("milepost_after")
        if after is not None:
            after.append(act)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Begin a transaction that only reads; on SQLite it waits for no writer."""
        with self.connect() as conn:
            conn.execution_options(milepost_reads=True)
            with conn.begin():
                yield conn

    @contextlib.contextmanager
    def connect(self) -> Iterator[Connection]:
        """Take a connection whose transactions are the caller's."""
        try:
            with self._unless_lost(None):
                conn = self.engine.connect()
            with conn, self._unless_lost(conn):
                yield conn
        finally:
            if self._closed:
                # Closed meanwhile: nobody else would empty the pool that it went back to.
                self.engine.pool.dispose()

    @contextlib.contextmanager
    def _unless_lost(self, conn: Connection | None) -> Iterator[None]:
        """Say so where an error means that the connection broke, or could not be made."""
        try:
            yield
        except Exception as error:
            if self.is_sqlite:
                raise
            if self.is_file:
                self._say_locked(error)
                raise
            from milepost.store import postgres

            if not postgres.means_lost(error, conn):
                raise
            reason = str(getattr(error, "orig", error)).strip().partition("\n")[0]
            self.observe(StoreConnectionLost(reason))
            raise StoreUnavailable(f"the database is out of reach: {reason}") from error

    def _say_locked(self, error: Exception) -> None:
        from milepost.store import duckdb

        if duckdb.means_locked(error):
            raise DestinationLocked(
                f"another process has {self.engine.url.database}, and DuckDB lets only one at a "
                "time: let it end or close the file"
            ) from error

    async def run(
        self, work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run `work(conn, ...)` in one transaction, on a thread of this database's own."""

        def transaction() -> R:
            with self.begin() as conn:
                return work(conn, *args, **kwargs)

        return await self.on_thread(transaction)

    async def query(
        self, work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run `work(conn, ...)`, which only reads, on a thread of this database's own."""

        def transaction() -> R:
            with self.read() as conn:
                return work(conn, *args, **kwargs)

        return await self.on_thread(transaction)

    async def on_thread(self, work: Callable[[], R]) -> R:
        """Run blocking work; a wait that is cancelled still waits for the work's end.

        The thread cannot be stopped, and its transaction may commit. Whoever learns that the
        wait was cancelled must be able to rely on nothing being written any more.
        """
        # What the caller belongs to, in logs and traces, its work belongs to as well.
        inherited = contextvars.copy_context()
        running = asyncio.get_running_loop().run_in_executor(self._threads, inherited.run, work)
        cancelled: asyncio.CancelledError | None = None
        while not running.done():
            try:
                await asyncio.shield(running)
            except asyncio.CancelledError as error:
                cancelled = error
            except Exception:  # noqa: BLE001, S110 (raised again by result() below)
                pass
        if cancelled is not None:
            running.exception()
            raise cancelled
        return running.result()

    def sibling(
        self,
        *,
        threads: int = 4,
        answer_within: timedelta | None = None,
        patient: bool = False,
    ) -> "Database":
        """The same database with connections and threads of its own.

        What handlers write must not take the connections that keep their leases alive. A server
        that does not answer within `answer_within` counts as gone. `patient`: when all connections
        are taken, wait for one however long that takes.
        """
        engine = _engine(self.engine.url, answer_within=answer_within, patient=patient)
        made = Database(engine, clock=self.clock, threads=threads)
        made._turn = self._turn  # one file, one writer
        made.observe = self.observe
        return made

    def same_as(self, other: "Database") -> bool:
        """Whether both are one database, so that one transaction can hold both their writes."""
        return _identity(self.engine.url) == _identity(other.engine.url)

    def clock_for(self, conn: Connection) -> Clock:
        """The clock for a connection to another database: each dialect has its own."""
        if (conn.dialect.name in FILES) == self.is_file:
            return self.clock
        return HostClock() if conn.dialect.name in FILES else DatabaseClock()

    def close(self, *, wait: bool = True) -> None:
        """Close the connections, after the work that runs unless told not to wait; idempotent."""
        self._closed = True
        self._threads.shutdown(wait=wait)
        # The pool, and not the engine, which would begin a new pool: what is still out must
        # come back to this one.
        self.engine.pool.dispose()


def _identity(url: URL) -> tuple[object, ...]:
    if url.drivername in FILES:
        return (url.drivername, str(Path(url.database or "").resolve()))
    # The query too: it may name another host, or another schema. Two spellings of one database
    # cost a second commit; two databases taken for one would cost the data.
    return (
        url.get_backend_name(), url.host, url.port or 5432, url.database, url.username,
        tuple(sorted(url.query.items())),
    )  # fmt: skip


class _Turn:
    """A lock that gives up with a clear error where one who has it never gives it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = 0

    def __enter__(self) -> None:
        while True:
            before = self._taken
            if self._lock.acquire(timeout=BUSY_SECONDS):
                self._taken += 1
                return
            # Where others had their turns meanwhile, the queue is long and nothing is wrong.
            if self._taken == before:
                raise StoreError(
                    "another transaction of this process has held the SQLite file for "
                    f"{BUSY_SECONDS} s; a write function must not begin a transaction of its own"
                )

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def open_database(url: str | URL, *, clock: Clock | None = None, threads: int = 4) -> Database:
    """Open SQLite (a URL or a path), PostgreSQL or DuckDB; connects when first used."""
    parsed = parse_url(url) if isinstance(url, str) else url
    return Database(_engine(parsed), clock=clock, threads=threads)


def _engine(url: URL, *, answer_within: timedelta | None = None, patient: bool = False) -> Engine:
    if url.drivername == "sqlite":
        return _sqlite(url)
    if url.drivername == DUCKDB:
        return _duckdb(url)
    try:
        from milepost.store import postgres
    except ImportError:
        raise ConfigurationError(
            "PostgreSQL needs the psycopg driver: pip install 'milepost[postgres]'"
        ) from None
    return postgres.open_engine(url, answer_within=answer_within, patient=patient)


def _duckdb(url: URL) -> Engine:
    try:
        from milepost.store import duckdb
    except ImportError:
        raise ConfigurationError(
            "DuckDB needs its driver: pip install 'milepost[duckdb]'"
        ) from None
    check_file(url)
    check_folder(url)
    return duckdb.open_engine(url)


def _sqlite(url: URL) -> Engine:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise ConfigurationError(
            f"SQLite {sqlite3.sqlite_version} is too old, Milepost needs 3.35 or newer"
        )
    check_file(url)
    check_folder(url)
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_SECONDS},
        # Parameters are people's data: errors go into logs and into the jobs' history.
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        # The driver must not begin transactions by itself: it would begin them too late.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL, because a job must outlive the machine, not only the process.
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begin(conn: Connection) -> None:
        # A transaction that reads first and writes later fails when another wrote in between:
        # writers say at the beginning that they will write.
        reads = conn.get_execution_options().get("milepost_reads")
        conn.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine
