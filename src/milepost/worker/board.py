"""What a worker holds just now. Touched only on the worker's own loop."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from milepost.jobs.leases import Lease
from milepost.jobs.outcomes import Outcome
from milepost.pools import Attempt


@dataclass(slots=True)
class Ended:
    """An attempt whose handler has ended, or was left behind, and its outcome."""

    attempt: Attempt
    outcome: Outcome
    at: float = field(default_factory=time.monotonic)


# With so few attempts running it is not worth waiting for another slot.
FEW: Final = 16
HESITATE_FOR: Final = 0.02  # seconds


class Board:
    """What runs, what has ended and is not settled yet, and who goes on all the same."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._hesitates_since: float | None = None
        self.running: dict[Lease, Attempt] = {}
        self.ended: deque[Ended] = deque()
        self.settling: list[Ended] = []
        # Ended here, while their handlers go on: nobody could stop them.
        self.left_behind: set[Attempt] = set()

    def free(self) -> int:
        """How many more attempts may begin.

        A store that is slow to settle slows claiming down, or memory would fill with outcomes.
        """
        unsettled = len(self.ended) + len(self.settling)
        return min(
            self._concurrency - len(self.running),
            2 * self._concurrency - len(self.running) - unsettled,
        )

    def worth_asking(self) -> bool:
        """Whether so many slots are free that a claim pays, or no more come free by waiting.

        A claim costs the same for one job as for a hundred, and while many short ones run, more
        slots come free in the next milliseconds. Those that do not end then may run for hours.
        """
        free, now = self.free(), time.monotonic()
        if free <= 0:
            self._hesitates_since = None
            return False
        if self._hesitates_since is None:
            self._hesitates_since = now
        many = free * 4 >= self._concurrency or len(self.running) < FEW
        if many or now - self._hesitates_since >= HESITATE_FOR:
            self._hesitates_since = None
            return True
        return False

    def at_work(self) -> Iterator[Attempt]:
        """Everything whose handler is at work, whatever became of its attempt."""
        yield from self.running.values()
        yield from self.left_behind

    def held(self) -> list[Lease]:
        """Every lease that this worker still needs."""
        return [
            *self.running,
            *(ended.attempt.lease for ended in (*self.ended, *self.settling)),
        ]

    def idle(self) -> bool:
        """Whether nothing is left to run or to settle."""
        return not (self.running or self.ended or self.settling)
