"""How an attempt ended, and where that takes its job."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, assert_never, get_args

from milepost.jobs.states import JobState

OnFailure = Literal["fail", "cancel", "go-on"]
"""What becomes of a job where one that it waits for fails or is cancelled."""

ON_FAILURE: Final[tuple[OnFailure, ...]] = get_args(OnFailure)


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned. `result` is JSON."""

    result: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler's own fault: it costs a failure. Not `recoverable`: never run again."""

    error: str
    traceback: str | None = None
    recoverable: bool = True


@dataclass(frozen=True, slots=True)
class Crashed:
    """The process that ran the handler died under it: a signal, os._exit, out of memory.

    It costs no failure, but counts as a death of a worker does.
    """

    error: str
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class Misfit:
    """The job's args or checkpoint do not fit this worker's definition: it may be a newer one's.

    It costs no failure.
    """

    error: str


@dataclass(frozen=True, slots=True)
class Snoozed:
    """The handler asked to run again later. It costs nothing."""

    after: timedelta
    reason: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.after, timedelta):
            raise TypeError(f"a snooze takes a timedelta, not {self.after!r}")


@dataclass(frozen=True, slots=True)
class Waiting:
    """The handler goes on when its children have ended. It costs nothing."""

    on_failure: OnFailure = "fail"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody asked the job to stop, and it did."""

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The worker stops, or lost its database. Not the job's fault, so it costs no failure."""


Outcome = Completed | Failed | Crashed | Misfit | Snoozed | Waiting | Cancelled | Interrupted


def crashed_too_often(crash: Crashed, times: int) -> Failed:
    """What a crash that was the last of so many in a row is to its job."""
    return Failed(
        f"its process died {times} times in a row, nothing new saved between; "
        f"the last time: {crash.error}",
        crash.traceback,
        recoverable=False,
    )


def next_state(outcome: Outcome, *, attempts_left: bool) -> JobState:
    """Decide the state after an attempt; total, so that a new outcome is a type error here.

    That a job has crashed too often, was cancelled meanwhile or waits for nothing any more, only
    the store knows.
    """
    match outcome:
        case Completed():
            return JobState.COMPLETED
        case Cancelled():
            return JobState.CANCELLED
        case Snoozed() | Misfit() | Waiting():
            return JobState.SCHEDULED
        case Crashed() | Interrupted():
            return JobState.AVAILABLE
        case Failed(recoverable=recoverable):
            return JobState.SCHEDULED if recoverable and attempts_left else JobState.FAILED
        case _:
            assert_never(outcome)
