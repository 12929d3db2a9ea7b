"""The port for what others must know at once. The store says the same, only later."""

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
    # Something, nobody knows what: look in the store. After a reconnect, and on SQLite.
    ANYTHING = "anything"


@dataclass(frozen=True, slots=True)
class Signal:
    """A hint to look in the store; a lost one costs time, never correctness."""

    topic: Topic
    queue: str | None = None
    job_ids: tuple[JobId, ...] = ()


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
