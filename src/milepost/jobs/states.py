"""The state machine of a job: one table, which code, tests and documents are checked against."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class JobState(StrEnum):
    """Where a job is in its life."""

    SCHEDULED = "scheduled"
    AVAILABLE = "available"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


S = JobState

TRANSITIONS: Final[Mapping[JobState, frozenset[JobState]]] = {
    # Failed: a job that it waits for has failed.
    S.SCHEDULED: frozenset({S.AVAILABLE, S.CANCELLED, S.FAILED}),
    S.AVAILABLE: frozenset({S.RUNNING, S.CANCELLED}),
    S.RUNNING: frozenset({S.COMPLETED, S.FAILED, S.CANCELLED, S.SCHEDULED, S.AVAILABLE}),
    S.COMPLETED: frozenset(),
    # Scheduled: what it waits for has not ended yet.
    S.FAILED: frozenset({S.AVAILABLE, S.SCHEDULED}),
    S.CANCELLED: frozenset({S.AVAILABLE, S.SCHEDULED}),
}

FINAL: Final = frozenset({S.COMPLETED, S.FAILED, S.CANCELLED})
UNFINISHED: Final = frozenset(JobState) - FINAL
