"""The port to traces: what belongs together, across processes and programs."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Final, Protocol

from milepost.jobs.leases import ClaimedJob

Fact = str | int | float | bool
"""What a span may say."""


class Span(Protocol):
    """A piece of work that has a beginning and an end."""

    def note(self, **facts: Fact) -> None:
        """Add what became known meanwhile."""
        ...


class Tracing(Protocol):
    """Keeps spans. A trace travels as BullMQ carries it: a JSON object of W3C headers, as text."""

    def carried(self, job: ClaimedJob) -> str | None:
        """Spell the trace that a handler in another process goes on with."""
        ...

    def entered(self, job: ClaimedJob) -> AbstractContextManager[object]:
        """Let the handler in the block go on with its job's trace."""
        ...

    def close(self) -> None:
        """Send what is kept, for a moment at most; safe to call twice."""
        ...

    def span(self, name: str, facts: Mapping[str, Fact]) -> AbstractContextManager[Span]:
        """Let the block be a span of the trace that it runs in."""
        ...


class _Untraced:
    """Keeps nothing."""

    def note(self, **facts: Fact) -> None:
        """Do nothing."""


UNTRACED: Final[Span] = _Untraced()
"""The span where nothing is traced."""
