"""How long a failed job waits before its next attempt."""

import math
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

# No database's calendar ends before this.
LONGEST_WAIT: Final = timedelta(days=36_500)


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """Exponential back-off with jitter: `first * factor ** (failures - 1)`, at most `longest`.

    Jitter spreads the wait over ± that share of it, so that jobs that failed together do not
    come back together.
    """

    first: timedelta = timedelta(seconds=2)
    factor: float = 2.0
    longest: timedelta = timedelta(hours=1)
    jitter: float = 0.25

    def __post_init__(self) -> None:
        if self.first < timedelta(0) or self.longest < timedelta(0):
            raise ValueError(f"a back-off cannot be negative: {self}")
        if self.factor < 1:
            raise ValueError(f"factor must be at least 1, not {self.factor}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is a share from 0 to 1, not {self.jitter}")

    def wait(self, failures: int, *, chance: float | None = None) -> timedelta:
        """Say how long to wait after so many failures; `chance` from 0 to 1 fixes the jitter."""
        try:
            grown = self.first.total_seconds() * self.factor ** (failures - 1)
        except OverflowError:
            grown = math.inf
        bounded = min(grown, self.longest.total_seconds())
        roll = random.random() if chance is None else chance  # noqa: S311 (not a secret)
        jittered = bounded * (1 + self.jitter * (2 * roll - 1))
        return timedelta(seconds=min(jittered, LONGEST_WAIT.total_seconds()))
