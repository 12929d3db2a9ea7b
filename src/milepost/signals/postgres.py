"""Signals by PostgreSQL's LISTEN and NOTIFY."""

import logging
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select

from milepost.signals.hub import Hub
from milepost.signals.signal import Listener, Signal, Topic, decode, encode
from milepost.store.database import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

logger = logging.getLogger("milepost.signals")

CHANNEL: Final = "milepost"
# A payload holds at most 8,000 bytes: 200 ids of 19 digits, and a queue's name of 200 letters
# that JSON spells with 12 bytes each.
MOST_IDS: Final = 200


class PostgresSignals:
    """NOTIFY rides in the transaction that it tells of: told if and only if committed."""

    def __init__(
        self, database: Database, *, reconnect_after: timedelta = timedelta(seconds=1)
    ) -> None:
        self._database = database
        self._reconnect_after = reconnect_after
        self._hub = Hub()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._listener: threading.Thread | None = None

    def announce(self, conn: "Connection", signal: Signal) -> None:
        """Tell everybody who listens, as part of the transaction."""
        for ids in _chunks(signal.job_ids):
            note = encode(Signal(signal.topic, signal.queue, ids))
            conn.execute(select(func.pg_notify(CHANNEL, note)))

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Listen; the first listener opens the connection."""
        # First: the new thread may have said that anything may have happened before we go on.
        unsubscribe = self._hub.subscribe(listener)
        with self._lock:
            if self._listener is None and not self._ended.is_set():
                # Not before: an application that is only imported may be forked.
                self._wake, self._woken = socket.socketpair()
                self._listener = threading.Thread(
                    target=self._listen, name="milepost-signals", daemon=True
                )
                self._listener.start()
        return unsubscribe

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._ended.set()
            listener, self._listener = self._listener, None
        if listener is not None:
            self._wake.send(b".")
            listener.join()
            self._wake.close()
            self._woken.close()

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                self._hear()
            except Exception:
                logger.warning("lost the connection that listens; connecting again", exc_info=True)
                self._ended.wait(self._reconnect_after.total_seconds())

    def _hear(self) -> None:
        import psycopg

        from milepost.store import postgres

        url = self._database.engine.url.set(drivername="postgresql")
        # Who only listens notices by TCP alone that nobody is left to tell anything.
        with psycopg.connect(
            url.render_as_string(hide_password=False), autocommit=True, **postgres.reach(url)
        ) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            # What was told before this moment went unheard.
            self._hub.deliver(Signal(Topic.ANYTHING))
            # Not select(), which takes no descriptor past 1,023.
            with selectors.DefaultSelector() as either:
                either.register(connection.fileno(), selectors.EVENT_READ)
                either.register(self._woken, selectors.EVENT_READ)
                while not self._ended.is_set():
                    either.select(30)
                    # Asking also finds a connection that died while nothing was told.
                    for note in connection.notifies(timeout=0):
                        self._hub.deliver(decode(note.payload))


def _chunks(ids: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for start in range(0, max(1, len(ids)), MOST_IDS):
        yield ids[start : start + MOST_IDS]
