"""Signals by Redis's publish and subscribe."""

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from milepost.errors import RedisAway
from milepost.redis import Link
from milepost.signals.hub import Hub
from milepost.signals.signal import Listener, Signal, Topic, decode, encode
from milepost.store.database import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

logger = logging.getLogger("milepost.signals")

# A lost signal is only late, so what Redis does not take is dropped, the oldest first.
MOST_WAITING: Final = 10_000
LISTEN_FOR: Final = timedelta(seconds=2)
RECONNECT_AFTER: Final = timedelta(milliseconds=250)


class RedisSignals:
    """Published after the commit, by a thread of its own: nobody waits for Redis."""

    def __init__(self, database: Database, link: Link) -> None:
        self._database = database
        self._link = link
        self._channel = f"{link.settings.prefix}:signals"
        self._own_channel = f"{self._channel}:{secrets.token_hex(8)}"
        self._hub = Hub()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._listener: threading.Thread | None = None
        self._publisher: threading.Thread | None = None
        self._waiting: deque[Signal] = deque(maxlen=MOST_WAITING)
        self._some = threading.Event()

    def announce(self, conn: "Connection", signal: Signal) -> None:
        """Tell everybody after the commit; of a foreign transaction the dispatcher tells."""
        self._database.after_commit(conn, lambda: self._publish(signal))

    def _publish(self, signal: Signal) -> None:
        self._waiting.append(signal)
        self._start()
        self._some.set()

    def _start(self) -> None:
        with self._lock:
            if self._publisher is None and not self._ended.is_set():
                self._publisher = threading.Thread(
                    target=self._send, name="milepost-publisher", daemon=True
                )
                self._publisher.start()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Listen; the first listener opens the connection."""
        # First: the new thread may have said that anything may have happened before we go on.
        unsubscribe = self._hub.subscribe(listener)
        with self._lock:
            if self._listener is None and not self._ended.is_set():
                self._listener = threading.Thread(
                    target=self._listen, name="milepost-signals", daemon=True
                )
                self._listener.start()
        return unsubscribe

    def close(self) -> None:
        """Publish what waits, and stop listening."""
        self._ended.set()
        self._some.set()
        if self._publisher is not None:
            self._publisher.join()
        if self._listener is not None:
            # It blocks in a read; this is what it reads.
            self._link_quietly(("PUBLISH", self._own_channel, ""))
            self._listener.join()
            self._listener = None

    def _send(self) -> None:
        while self._waiting or not self._ended.is_set():
            self._some.wait()
            self._some.clear()
            signals = [self._waiting.popleft() for _ in range(len(self._waiting))]
            self._link_quietly(*(("PUBLISH", self._channel, encode(s)) for s in signals))

    def _link_quietly(self, *commands: tuple[str, ...]) -> None:
        try:
            self._link.round_trip(commands)
        except RedisAway:
            logger.debug("%d signals were not published", len(commands))

    def _listen(self) -> None:
        from redis.exceptions import RedisError

        while not self._ended.is_set():
            try:
                self._hear()
            except (RedisError, OSError) as error:
                logger.debug("lost the connection that listens: %s; connecting again", error)
                self._ended.wait(RECONNECT_AFTER.total_seconds())

    def _hear(self) -> None:
        client = self._link.open_blocking(LISTEN_FOR)
        with client, client.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe(self._channel, self._own_channel)
            for _ in range(2):
                channel.get_message(timeout=LISTEN_FOR.total_seconds())
            # What was told before this moment went unheard.
            self._hub.deliver(Signal(Topic.ANYTHING))
            asked = False
            while not self._ended.is_set():
                message = channel.get_message(timeout=LISTEN_FOR.total_seconds())
                if message is None:
                    # A connection that the network swallowed looks like silence.
                    if asked:
                        raise TimeoutError(f"{self._link.name} says nothing")
                    channel.ping()
                asked = message is None
                if message is not None and message["channel"] == self._channel:
                    self._hub.deliver(decode(message["data"]))
