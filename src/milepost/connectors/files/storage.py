"""The port between formats and the places that files are kept in."""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from milepost.errors import FatalConnectorError


@dataclass(frozen=True, slots=True)
class Found:
    """One file. `name` may be stored, `shown` is for people; neither holds a secret.

    `version` differs when the file does; None where only reading tells.
    """

    name: str
    shown: str
    where: str
    version: str | None = None


class Opened(Protocol):
    """One open file, read by one thread."""

    raw: io.RawIOBase

    @property
    def version(self) -> str | None:
        """What differs when the file does, as it was when it was opened; None: nobody knows."""
        ...

    @property
    def version_counts(self) -> bool:
        """Whether another version is another file; otherwise reading it again tells."""
        ...

    def check_end(self, size: int) -> bool:
        """Whether it may end after so many bytes, and was not cut off while it was read."""
        ...

    def read_in_any_order(self) -> None:
        """Make ready for seeking back and forth."""
        ...

    def interrupt(self) -> None:
        """Let a read that waits end soon, with any error; safe to call from any thread."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Storage(Protocol):
    """Where files are. All of it blocks, so it runs on a thread."""

    def find(self) -> Sequence[Found]:
        """Find the files, in the order of their names; one at least.

        Raises a ConnectorError that says what the caller must do.
        """
        ...

    def open(self, found: Found) -> Opened:
        """Open one of them."""
        ...

    def named_errors(self, shown: str) -> AbstractContextManager[None]:
        """Turn what reading a file raises into a ConnectorError that names it."""
        ...


def changed(shown: str, where: str) -> FatalConnectorError:
    """Say that a file is not the one that a cursor was made for."""
    return FatalConnectorError(
        f"{shown} has changed since it was read up to {where}: submit a new job, which begins at "
        "the start"
    )


def nothing_matches(shown: str) -> FatalConnectorError:
    """Say that a pattern names no file."""
    return FatalConnectorError(
        f"{shown}: no file matches this pattern; mend it, or wait until there is one"
    )
