"""Waits for BullMQ's markers: what a BullMQ worker waits for, so that one job wakes one worker."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from milepost.brokers.bullmq.scripts import Scripts
from milepost.errors import RedisAway
from milepost.redis import Link

if TYPE_CHECKING:
    from redis import Redis

# A network that swallows everything holds a stop for so long.
LONGEST: Final = timedelta(seconds=2)
# Redis before 7.0.8 may take 1 ms for ever.
SHORTEST: Final = 0.002
LOOK_WHILE_AWAY: Final = 0.25
# A queue whose hint was left to others is listened to again after this.
LOOK_WHILE_FULL: Final = 0.25
DELAYED: Final = "1"


class MarkerWait:
    """One blocking connection for all queues of a worker. One thread waits at a time."""

    def __init__(self, link: Link, scripts: Scripts, *, worker_id: str) -> None:
        self._link = link
        self._scripts = scripts
        self._wake_key = f"{link.settings.prefix}:wake:{worker_id}"
        self._client: Redis | None = None
        self._interrupted = threading.Event()
        # When the next delayed entry of a queue is due, in seconds of time.time().
        self._due_at: dict[str, float] = {}
        # When a rate lets its next begin; the same.
        self._opens_at: dict[str, float] = {}
        # Until when a queue's hint is left to others, in seconds of time.monotonic().
        self._passed_on: dict[str, float] = {}

    def note_due(self, queue: str, due_at: float | None) -> None:
        """Note when a queue has its next entry, so that a wait ends then."""
        if due_at is None:
            self._due_at.pop(queue, None)
        else:
            self._due_at[queue] = due_at

    def note_opening(self, queue: str, opens_in: timedelta | None) -> None:
        """Note after how long a rate lets the next of a queue begin; None: only signals tell."""
        if opens_in is None:
            self._opens_at.pop(queue, None)
            return
        self._opens_at[queue] = time.time() + opens_in.total_seconds()
        # Who waits by now waits too long.
        self._wake()

    def pass_on(self, queue: str) -> None:
        """Leave a queue's hint to others for a moment: what waits there has no room here."""
        self._passed_on[queue] = time.monotonic() + LOOK_WHILE_FULL

    def wait(
        self, queues: Sequence[str], timeout: timedelta, wanted: Callable[[str], bool]
    ) -> list[str]:
        """Block until one of the wanted queues may have an entry; returns those."""
        deadline = time.monotonic() + min(timeout, LONGEST).total_seconds()
        while not self._interrupted.is_set():
            if self._link.is_away:
                self._interrupted.wait(min(LOOK_WHILE_AWAY, timeout.total_seconds()))
                return list(queues)
            # The hints of the others stay where workers find them that have room.
            wanting = [queue for queue in queues if self._listens_to(queue, wanted)]
            now = time.time()
            due_at = self._next_of(wanting)
            due = [queue for queue, at in due_at.items() if at <= now]
            left = deadline - time.monotonic()
            if due or left <= 0:
                for queue in due:
                    self._forget_due(queue, now)
                return due
            next_due = min((at - now for at in due_at.values()), default=left)
            if len(wanting) < len(queues):
                left = min(left, LOOK_WHILE_FULL)
            hinted = self._pop(wanting, max(SHORTEST, min(left, next_due)), wanted)
            if hinted is not None:
                return hinted
        self._interrupted.clear()
        return []

    def _next_of(self, queues: Sequence[str]) -> dict[str, float]:
        """When each of these queues has its next, in seconds of time.time()."""
        next_of: dict[str, float] = {}
        for noted in (self._opens_at, self._due_at):
            for queue in queues:
                if (at := noted.get(queue)) is not None:
                    next_of[queue] = min(at, next_of.get(queue, at))
        return next_of

    def _forget_due(self, queue: str, now: float) -> None:
        for noted in (self._opens_at, self._due_at):
            if noted.get(queue, now + 1) <= now:
                noted.pop(queue, None)

    def _listens_to(self, queue: str, wanted: Callable[[str], bool]) -> bool:
        return wanted(queue) and self._passed_on.get(queue, 0) <= time.monotonic()

    def _pop(
        self, queues: Sequence[str], seconds: float, wanted: Callable[[str], bool]
    ) -> list[str] | None:
        from redis.exceptions import RedisError

        markers = {self._scripts.of(queue).key["marker"]: queue for queue in queues}
        try:
            if self._client is None:
                self._client = self._link.open_blocking(LONGEST)
            popped: Any = self._client.bzpopmin([*markers, self._wake_key], seconds)
            if popped is None:
                return None
            key, member, score = popped
            if key == self._wake_key:
                return []
            if not self._listens_to(markers[key], wanted):
                # Others have room for it.
                self._client.zadd(key, {member: score})
                return []
        except (RedisError, OSError):
            self._drop()
            self._interrupted.wait(LOOK_WHILE_AWAY)
            return []
        queue = markers[key]
        if member == DELAYED and score / 1000 > time.time():
            self._due_at[queue] = score / 1000
            return None
        return [queue]

    def interrupt(self) -> None:
        """End a wait that is under way."""
        self._interrupted.set()
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(RedisAway):
            self._link.round_trip(
                [("ZADD", self._wake_key, 0, "wake"), ("EXPIRE", self._wake_key, 60)]
            )

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def close(self) -> None:
        """Close the connection, once nobody waits."""
        self._drop()
