"""A child process's own log, on its way to the worker's."""

import contextlib
import logging
import traceback
from collections import deque
from typing import Final

from milepost.pools.process.messages import Logged

JOB_LOG: Final = "milepost.jobs"
MOST_RECORDS: Final = 1000
LONGEST_RECORD: Final = 8000


class Records(logging.Handler):
    """Keeps the records of the program's own log until they are sent to the worker's log."""

    def __init__(self) -> None:
        super().__init__()
        # A program that logs in a tight loop loses its oldest lines, not our memory.
        self._kept: deque[Logged] = deque(maxlen=MOST_RECORDS)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record as text: its arguments may be anything."""
        try:
            text = record.getMessage()
            if record.exc_info:
                text += "\n" + "".join(traceback.format_exception(*record.exc_info))
        except Exception:  # noqa: BLE001 (as every handler does: logging breaks no program)
            self.handleError(record)
            return
        self._kept.append(
            Logged(
                record.name,
                record.levelno,
                text[:LONGEST_RECORD],
                record.created,
                # Of the job's own log only: anybody may give his records such attributes.
                getattr(record, "job_id", None) if record.name == JOB_LOG else None,
                getattr(record, "kind", None) if record.name == JOB_LOG else None,
            )
        )

    def take(self) -> list[Logged]:
        """Hand out what was kept."""
        with self.lock or contextlib.nullcontext():
            taken = list(self._kept)
            self._kept.clear()
        return taken
