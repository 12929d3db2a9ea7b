"""Knows in which queues the store says who is next, because limits hold or turns are taken."""

import time
from typing import Final

from milepost.jobs.registry import Registry
from milepost.store import jobs
from milepost.store.database import Database

# What people set, and what other programs submit, is seen after this.
LOOK_AGAIN_AFTER: Final = 1.0


class Steering:
    """Asks the store at each receive where a definition has limits or turns, else now and then."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        # Where something may be held back.
        self.queues = {each.queue for each in registry if each.steered}
        # When a queue was last seen free, in seconds of time.monotonic().
        self._free_at: dict[str, float] = {}

    def applies(self, queue: str) -> bool:
        """Whether the store is to say who is next in a queue."""
        now = time.monotonic()
        since = now - self._free_at.get(queue, -LOOK_AGAIN_AFTER)
        if queue not in self.queues and since < LOOK_AGAIN_AFTER:
            return False
        with self._database.read() as conn:
            steered = jobs.is_steered(conn, queue)
        if steered:
            self.forget(queue)
        else:
            self._free_at[queue] = now
        return steered

    def note(self, queue: str) -> None:
        """Note that something in a queue is held back."""
        self.queues.add(queue)

    def forget(self, queue: str) -> None:
        """Look again at the next receive."""
        self._free_at.pop(queue, None)
