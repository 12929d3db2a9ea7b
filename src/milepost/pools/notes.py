"""What attempts report between two flushes: progress, checkpoint copies, log lines."""

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from milepost.jobs.leases import Lease
from milepost.jobs.progress import Progress
from milepost.store.logs import LogLine

MOST_LINES: Final = 5000


@dataclass(slots=True)
class Taken:
    """What has been noted since the last time: the newest progress, all log lines."""

    progress: dict[Lease, Progress] = field(default_factory=dict)
    checkpoints: dict[Lease, str] = field(default_factory=dict)
    lines: list[LogLine] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.progress or self.checkpoints or self.lines)


class Notes:
    """Collects reports from any thread; taking costs one swap, reporting one assignment.

    Handlers may report a million times a second; the store sees the newest a few times.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress: dict[Lease, Progress] = {}
        self._checkpoints: dict[Lease, str] = {}
        # A handler that logs in a tight loop loses its oldest lines, not the worker's memory.
        self._lines: deque[LogLine] = deque(maxlen=MOST_LINES)

    def progress(self, lease: Lease, progress: Progress) -> None:
        """Note the newest progress."""
        with self._lock:
            self._progress[lease] = progress

    def checkpoint(self, lease: Lease, checkpoint: str) -> None:
        """Note a copy of a checkpoint that is kept in another database."""
        with self._lock:
            self._checkpoints[lease] = checkpoint

    def line(self, line: LogLine) -> None:
        """Note a log line."""
        with self._lock:
            self._lines.append(line)

    def put_back(self, taken: Taken) -> None:
        """Note again what could not be written, unless something newer has been noted."""
        with self._lock:
            self._progress = taken.progress | self._progress
            self._checkpoints = taken.checkpoints | self._checkpoints
            self._lines.extendleft(reversed(taken.lines))

    def take(self) -> Taken:
        """Hand out what was noted, and begin anew."""
        with self._lock:
            taken = Taken(self._progress, self._checkpoints, list(self._lines))
            self._progress, self._checkpoints = {}, {}
            self._lines.clear()
        return taken
