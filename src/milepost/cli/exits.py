"""How a command ends: its exit code, and what a user sees when something is wrong."""

import functools
import os
import sys
from collections.abc import Callable
from typing import Final, ParamSpec

import typer
from sqlalchemy.exc import DBAPIError

from milepost.cli.output import Output
from milepost.errors import ConfigurationError, MilepostError, QueueFull, SubmitError
from milepost.jobs.states import JobState

P = ParamSpec("P")

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
CANCELLED: Final = 130

OF_STATE: Final = {
    JobState.COMPLETED: DONE,
    JobState.FAILED: FAILED,
    JobState.CANCELLED: CANCELLED,
}


def debugging() -> bool:
    """Whether the user asked for tracebacks."""
    return "--debug" in sys.argv or bool(os.environ.get("MILEPOST_DEBUG"))


def exits(command: Callable[P, int]) -> Callable[P, None]:
    """Turn a command's number into its exit code, and its error into one line."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except KeyboardInterrupt:
            code = CANCELLED
        except BrokenPipeError:
            # Whoever read our words has left, as `head` does. That is not wrong, but not all is
            # said or done.
            code = CANCELLED
        except (MilepostError, DBAPIError, OSError) as error:
            if debugging():
                raise
            Output(json=bool(kwargs.get("json"))).error(_spelled(error))
            wrong = isinstance(error, (ConfigurationError, SubmitError))
            # A full queue is not the caller's mistake.
            code = USAGE if wrong and not isinstance(error, QueueFull) else FAILED
        raise typer.Exit(code)

    return run


def _spelled(error: Exception) -> str:
    if isinstance(error, DBAPIError):
        # The first line says what is wrong; the rest repeats the statement.
        reason = str(error.orig).strip().partition("\n")[0]
        return f"the database: {reason} (milepost doctor looks closer)"
    return str(error)
