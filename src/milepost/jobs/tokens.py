"""How a running attempt is told to stop."""

import logging
import threading
from collections.abc import Callable
from typing import ClassVar

from milepost.errors import (
    AttemptStopped,
    CpuLimitExceeded,
    JobCancelled,
    JobInterrupted,
    LeaseLost,
    SilenceLimitExceeded,
    TimeLimitExceeded,
)

logger = logging.getLogger("milepost.jobs")

# When two reasons meet, the one that says more about the job's end wins.
_WEIGHT: dict[type[AttemptStopped], int] = {
    JobInterrupted: 0,
    TimeLimitExceeded: 1,
    CpuLimitExceeded: 1,
    SilenceLimitExceeded: 1,
    JobCancelled: 2,
    LeaseLost: 3,
}


class CancelToken:
    """One attempt's stop request; safe to set and to read from any thread."""

    # One lock for all: it is held for an instant, once in an attempt's life at most.
    _lock: ClassVar = threading.Lock()

    def __init__(self) -> None:
        self._stop: AttemptStopped | None = None
        self._listeners: tuple[Callable[[], None], ...] = ()
        # Made by the first wait: most attempts never wait, and there are thousands a second.
        self._told: threading.Event | None = None

    def stop(self, why: AttemptStopped) -> None:
        """Ask the attempt to stop; the weightiest reason is kept."""
        with self._lock:
            if self._stop is not None and _WEIGHT[type(self._stop)] >= _WEIGHT[type(why)]:
                return
            self._stop = why
        if self._told is not None:
            self._told.set()
        for listener in self._listeners:
            try:
                listener()
            except Exception:
                logger.exception("a listener for the stop of an attempt failed")

    @property
    def why(self) -> AttemptStopped | None:
        """Why the attempt is to stop; None while it is not."""
        return self._stop

    @property
    def requested(self) -> bool:
        """Whether this job must stop for good, or has lost its lease; not: the worker stops."""
        return self._stop is not None and not self.stopping

    @property
    def stopping(self) -> bool:
        """Whether the worker is stopping, and nothing else is wrong."""
        return isinstance(self._stop, JobInterrupted)

    def raise_if_cancelled(self) -> None:
        """Raise JobCancelled, LimitExceeded or LeaseLost where one of them is due."""
        if self._stop is not None and not self.stopping:
            raise self._stop

    def raise_if_stopped(self) -> None:
        """Raise whatever stop is due, JobInterrupted too."""
        if self._stop is not None:
            raise self._stop

    def wait(self, seconds: float) -> bool:
        """Block the calling thread until told to stop, at most so long; True: told."""
        with self._lock:
            if self._told is None:
                self._told = threading.Event()
            if self._stop is not None:
                self._told.set()
        return self._told.wait(seconds)

    def on_stop(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the telling thread when a stop comes, or now if it has come."""
        with self._lock:
            self._listeners = (*self._listeners, listener)
            stopped = self._stop is not None
        if stopped:
            listener()
