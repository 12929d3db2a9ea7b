"""Jobs that wait for others: their children, as a handler sees them."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from milepost.errors import JobFailed, JobWasCancelled
from milepost.jobs.leases import JobId
from milepost.jobs.states import JobState

if TYPE_CHECKING:
    from milepost.jobs.definition import JobDefinition

A = TypeVar("A")
R = TypeVar("R")

MOST_CHILDREN: Final = 100_000
# How many of them, with their args and results, a handler has in memory at once.
PAGE: Final = 50

# The `run_at` of a job that no moment starts, but the end of those that it waits for.
FOR_OTHERS: Final = datetime(9999, 1, 1, tzinfo=UTC)


class ChildRow(NamedTuple):
    """A child as the store has it. `args` and `result` are JSON."""

    id: JobId
    kind: str
    state: JobState
    args: str
    result: str | None
    error: str | None
    cancel_reason: str | None


class Child(Generic[A, R]):
    """A job that this one has waited for."""

    def __init__(self, definition: "JobDefinition[A, Any, R]", row: ChildRow) -> None:
        self._definition = definition
        self._row = row

    def __repr__(self) -> str:
        return f"<Child {self.job_id} {self.kind} {self.state}>"

    @property
    def job_id(self) -> JobId:
        """Its id in the store."""
        return self._row.id

    @property
    def kind(self) -> str:
        """Its kind."""
        return self._row.kind

    @property
    def state(self) -> JobState:
        """How it ended."""
        return self._row.state

    @property
    def error(self) -> str | None:
        """Its last error, where it has not completed."""
        return self._row.error

    @property
    def args(self) -> A:
        """What it was asked to do."""
        return self._definition.args.load(self._row.args)

    @property
    def result(self) -> R:
        """What it returned. Raises JobFailed or JobWasCancelled where it has not completed."""
        if self.state is JobState.CANCELLED:
            raise JobWasCancelled(self.job_id, self._row.cancel_reason)
        if self.state is not JobState.COMPLETED:
            raise JobFailed(self.job_id, self.error or f"it is {self.state}")
        return self._definition.result.load(self._row.result or "null")
