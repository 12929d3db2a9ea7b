"""The port to where handlers run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from milepost.jobs.outcomes import Outcome
from milepost.pools.attempt import Attempt
from milepost.pools.frames import Whereabouts

UNBOUNDED: Final = 1_000_000
"""The room of a pool that takes whatever the worker has slots for."""

OnDone = Callable[[Attempt, Outcome | None], None]
"""Called in a pool's own thread when an attempt's handler has ended; must not block."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A handler that keeps the others of its pool waiting; `where` is file:line in function."""

    attempt: Attempt | None
    where: str
    blocked_for: timedelta


class Pool(Protocol):
    """Runs handlers apart from the worker's own loop."""

    def start(self) -> None:
        """Be ready to run; returns when it is."""
        ...

    def run(self, attempts: Sequence[Attempt]) -> None:
        """Begin attempts; the end of each is told by the pool's OnDone."""
        ...

    def room(self) -> int:
        """How many more attempts it takes just now."""
        ...

    def force(self, attempt: Attempt) -> None:
        """Stop an attempt by what force the pool has; it may have none."""
        ...

    def where(self, attempt: Attempt) -> Whereabouts | None:
        """Say where an attempt's handler stands just now."""
        ...

    def blocked(self, longer_than: timedelta) -> Blocked | None:
        """Say which handler keeps the others waiting for so long."""
        ...

    def cpu_used(self, attempt: Attempt) -> timedelta | None:
        """How much CPU time an attempt with a limit of it has used; None where nobody can tell."""
        ...

    def close(self) -> None:
        """End; attempts that still run are left behind."""
        ...
