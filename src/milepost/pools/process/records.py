"""A child process's own log, on its way to the worker's."""

import contextlib
import logging
import traceback
from collections import deque
from typing import Any, Final

from pydantic_core import to_jsonable_python

from milepost.jobs.scope import scope
from milepost.pools.process.messages import Logged

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
            text, fields = _said(record)
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
                # Not what the record says of it: anybody may give his records such attributes.
                scope(),
                fields,
            )
        )

    def take(self) -> list[Logged]:
        """Hand out what was kept."""
        with self.lock or contextlib.nullcontext():
            taken = list(self._kept)
            self._kept.clear()
        return taken


def _said(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """What a record says; structlog's has a dictionary for its message."""
    if not isinstance(record.msg, dict):
        return record.getMessage(), {}
    fields = {str(name): value for name, value in record.msg.items() if name != "event"}
    plain: dict[str, Any] = to_jsonable_python(fields, serialize_unknown=True)
    return str(record.msg.get("event", "")), plain
