"""One way to Redis, and the knowledge whether it answers."""

import hashlib
import logging
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from milepost.errors import RedisAway
from milepost.jobs.events import Observer, RedisCameBack, RedisWentAway
from milepost.redis.opening import describe, open_client
from milepost.settings import RedisSettings

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger("milepost.redis")

Command = tuple[Any, ...]
"""One Redis command: its name and its arguments."""

PROBE_EVERY: Final = 0.2
# What Redis answers when it is there and cannot serve: starting, a replica since a failover,
# full, or another node has the keys now.
UNABLE: Final = (
    "LOADING", "READONLY", "OOM", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN",
    "NOREPLICAS", "MISCONF", "BUSY", "NOAUTH", "WRONGPASS", "UNBLOCKED",
)  # fmt: skip
# Bytes in one round trip: more would fill memory on both sides.
MOST_BYTES: Final = 4_000_000
SLOTS: Final = 16_384


class Link:
    """Sends many commands in one round trip; fails at once while Redis is away.

    The first call that fails finds out; after it one thread asks until Redis takes a write
    again, and nobody else waits for an answer that does not come.
    """

    def __init__(self, settings: RedisSettings, *, observe: Observer = lambda _: None) -> None:
        self.settings = settings
        self._observe = observe
        self.name = describe(settings)
        self._client = open_client(settings)
        # Never connected: it only knows how commands are spelled.
        self._packer = self._client.connection_pool.make_connection()
        self._lock = threading.Lock()
        self._away_since: float | None = None
        self._why = ""
        self._closed = threading.Event()
        self._scripts: dict[str, str] = {}
        self._located = False

    def away_for(self) -> timedelta:
        """How long Redis has not answered; nothing while it does."""
        since = self._away_since
        return timedelta(0) if since is None else timedelta(seconds=time.monotonic() - since)

    @property
    def is_away(self) -> bool:
        """Whether calls would fail at once."""
        return self._away_since is not None

    def script(self, text: str) -> str:
        """Make a script known; returns what EVALSHA calls it by."""
        sha = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 (Redis names scripts so)
        self._scripts[sha] = text
        return sha

    def call(self, *command: Any) -> Any:
        """Send one command. Raises RedisAway, or what Redis says is wrong with it."""
        [reply] = self.round_trip([command])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def round_trip(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands together and read all replies; one that is refused has its error.

        Raises RedisAway: then nobody knows which of them were carried out.
        """
        if not commands:
            return []
        packed = self._pack(commands)
        if sum(map(len, packed)) <= MOST_BYTES:
            return self._checked(self._exchange(packed, len(commands)), commands)
        if len(commands) == 1:
            return self._checked(self._exchange(packed, 1), commands)
        half = len(commands) // 2
        return self.round_trip(commands[:half]) + self.round_trip(commands[half:])

    def repeat(self, command: Command, times: int) -> list[Any]:
        """Send one command so many times; as `round_trip`, and packed only once."""
        if not times:
            return []
        packed = b"".join(self._pack([command]))
        return self._checked(self._exchange([packed * times], times), [command] * times)

    def _checked(self, replies: list[Any], commands: Sequence[Command]) -> list[Any]:
        from redis.exceptions import ResponseError

        if not any(isinstance(reply, ResponseError) for reply in replies):
            return replies
        unknown = [i for i, reply in enumerate(replies) if _says(reply, "NOSCRIPT")]
        if unknown:
            # A Redis that was restarted or took over has forgotten them.
            load = [("SCRIPT", "LOAD", text) for text in self._scripts.values()]
            self._exchange(self._pack(load), len(load))
            again = [commands[i] for i in unknown]
            for i, reply in zip(
                unknown, self._exchange(self._pack(again), len(again)), strict=True
            ):
                replies[i] = reply
        for reply in replies:
            if _says(reply, *UNABLE):
                self._lose(str(reply))
                raise RedisAway(f"{self.name} cannot serve: {reply}")
        return replies

    def _pack(self, commands: Sequence[Command]) -> list[bytes]:
        packed: list[bytes] = self._packer.pack_commands(commands)
        return packed

    def _exchange(self, packed: Sequence[bytes], count: int) -> list[Any]:
        from redis.exceptions import RedisError, ResponseError

        if self._away_since is not None:
            raise RedisAway(f"{self.name} has been away for {self.away_for()}: {self._why}")
        try:
            client = self._located_client()
            connection = client.connection_pool.get_connection()
            try:
                connection.send_packed_command(packed)
                replies: list[Any] = []
                read = connection.read_response
                for _ in range(count):
                    try:
                        replies.append(read())
                    except ResponseError as error:
                        replies.append(error)
            except BaseException:
                # Replies may still come: for whoever takes this connection next.
                connection.disconnect()
                raise
            finally:
                client.connection_pool.release(connection)
        except (RedisError, OSError) as error:
            self._lose(str(error) or type(error).__name__)
            raise RedisAway(f"{self.name} does not answer: {error}") from error
        else:
            return replies

    def _located_client(self) -> "Redis":
        """The client, of the node that has our keys where Redis is a cluster."""
        if not self._located:
            owner = locate(self._client, self.settings)
            if owner is not self._client:
                self._client.close()
                self._client = owner
            self._located = True
        return self._client

    def open_blocking(self, longest: timedelta) -> "Redis":
        """A client of its own for calls that block for at most so long."""
        client = open_client(self.settings, answer_within=longest + self.settings.answer_within)
        return locate(client, self.settings)

    def _lose(self, why: str) -> None:
        with self._lock:
            if self._away_since is not None or self._closed.is_set():
                return
            self._away_since = time.monotonic()
            self._why = why
        logger.warning(
            "%s is away (%s); jobs are in the store, nothing is lost; asking again every %s s",
            self.name, why, PROBE_EVERY,
        )  # fmt: skip
        self._observe(RedisWentAway(why))
        threading.Thread(target=self._probe, name="milepost-redis-probe", daemon=True).start()

    def _probe(self) -> None:
        from redis.exceptions import RedisError

        while not self._closed.wait(PROBE_EVERY):
            client = None
            try:
                # New connections, and in a cluster perhaps another node: the old may be half open.
                client = locate(open_client(self.settings), self.settings)
                client.set(f"{self.settings.prefix}:probe", "1", px=1000)
            except (RedisError, OSError):
                if client is not None:
                    client.close()
                continue
            with self._lock:
                old, self._client, self._located = self._client, client, True
                away_for, self._away_since = self.away_for(), None
            old.close()
            logger.warning("%s is back after %.1f s", self.name, away_for.total_seconds())
            self._observe(RedisCameBack(away_for))
            return

    def close(self) -> None:
        """Close the connections; safe to call twice."""
        self._closed.set()
        self._client.close()


def locate(client: "Redis", settings: RedisSettings) -> "Redis":
    """The client itself, or one of the cluster's node that has the keys of our prefix."""
    info: dict[str, Any] = client.info("cluster")
    if not info.get("cluster_enabled"):
        return client
    slot = client.execute_command("CLUSTER", "KEYSLOT", f"{settings.prefix}:")
    for first, last, (host, port, *_), *_ in client.execute_command("CLUSTER SLOTS"):
        if int(first) <= slot <= int(last):
            found = dict(client.connection_pool.connection_kwargs)
            found |= {"host": host or found["host"], "port": int(port)}
            pool = type(client.connection_pool)(
                connection_class=client.connection_pool.connection_class, **found
            )
            return type(client)(connection_pool=pool)
    return client


def _says(reply: Any, *words: str) -> bool:
    if not isinstance(reply, Exception):
        return False
    # redis-py takes the first word off the message of those that it has a class for.
    code = getattr(reply, "status_code", None) or str(reply).partition(" ")[0]
    return code in words


def pairs(flat: Iterable[Any]) -> dict[Any, Any]:
    """What Redis says as key, value, key, value."""
    values = iter(flat)
    return dict(zip(values, values, strict=True))
