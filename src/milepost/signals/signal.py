"""The port for what others must know at once. The store says the same, only later."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from milepost.jobs.leases import JobId

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Topic(StrEnum):
    """What happened."""

    AVAILABLE = "available"
    SCHEDULED = "scheduled"
    CANCEL = "cancel"
    PROGRESS = "progress"
    SETTLED = "settled"
    # Children of a job are to stop with it.
    STOPPING = "stopping"
    # Something, nobody knows what: look in the store. After a reconnect, and on SQLite.
    ANYTHING = "anything"


@dataclass(frozen=True, slots=True)
class Signal:
    """A hint to look in the store; a lost one costs time, never correctness."""

    topic: Topic
    queue: str | None = None
    job_ids: tuple[JobId, ...] = ()


def encode(signal: Signal) -> str:
    """Spell a signal for its way."""
    return json.dumps([signal.topic, signal.queue, signal.job_ids], separators=(",", ":"))


def decode(payload: str) -> Signal:
    """Read a signal."""
    with contextlib.suppress(ValueError, TypeError):
        topic, queue, ids = json.loads(payload)
        return Signal(Topic(topic), queue, tuple(ids))
    # Another version's signal: whatever it means, the store knows.
    return Signal(Topic.ANYTHING)


Listener = Callable[[Signal], None]


class Signals(Protocol):
    """Carries signals between the processes that share a store."""

    def announce(self, conn: "Connection", signal: Signal) -> None:
        """Tell everybody, once the transaction of `conn` has committed."""
        ...

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for each signal, in any thread; it must not block.

        Returns what ends the subscription.
        """
        ...

    def close(self) -> None:
        """Stop listening; safe to call twice."""
        ...
