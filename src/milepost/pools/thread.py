"""Threads for `def` handlers."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from milepost.jobs.outcomes import Interrupted
from milepost.pools.attempt import Attempt
from milepost.pools.execution import outcome_of, run_function
from milepost.pools.frames import Whereabouts, called, thread_frame, whereabouts
from milepost.pools.pool import UNBOUNDED, Blocked, OnDone

# Each holds its memory, its connections and its locks for as long as it likes.
MOST_LEFT_BEHIND: Final = 16
# How long to ask for no more threads, in seconds, where the system has given none.
REFUSED_FOR: Final = 1.0

logger = logging.getLogger("milepost.pools")


class ThreadPool:
    """Runs each `def` handler in a thread; threads are made on demand and reused.

    The worker's free slots bound how many run, and a limit of its own how many run on that were
    left behind. Threads are daemons: one that never returns must not keep the process from ending.
    """

    def __init__(self, on_done: OnDone, *, idle_for: timedelta = timedelta(seconds=30)) -> None:
        self._on_done = on_done
        self._idle_for = idle_for
        self._waiting: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads = 0
        self._refused_until = 0.0
        self._places: dict[Attempt, int] = {}
        # The CPU clock of a handler's thread, and what it showed at the beginning.
        self._clocks: dict[Attempt, tuple[int, float]] = {}

    def start(self) -> None:
        """Nothing to do: the first attempt starts the first thread."""

    def run(self, attempts: Sequence[Attempt]) -> None:
        """Begin attempts, with a new thread for each that finds none idle."""
        for attempt in attempts:
            with self._lock:
                reuse = self._idle > 0
                if reuse:
                    self._idle -= 1
                else:
                    self._threads += 1
            if reuse or self._start_thread():
                self._waiting.put(attempt)
            else:
                self._on_done(attempt, Interrupted())

    def _start_thread(self) -> bool:
        try:
            threading.Thread(target=self._serve, name="milepost-handler", daemon=True).start()
        except RuntimeError as error:
            with self._lock:
                self._threads -= 1
            self._refused_until = time.monotonic() + REFUSED_FOR
            logger.error("no thread for a handler: %s; its job goes back", error)  # noqa: TRY400
            return False
        return True

    def room(self) -> int:
        """Any number, until too many threads are held by handlers that were left behind."""
        if time.monotonic() < self._refused_until:
            return 0
        # The list is made in one step: threads come and go meanwhile.
        left_behind = sum(attempt.left_behind for attempt in list(self._places))
        return UNBOUNDED if left_behind < MOST_LEFT_BEHIND else 0

    def force(self, attempt: Attempt) -> None:
        """Nothing: Python has no way to end a thread; its token is all it can be told."""

    def where(self, attempt: Attempt) -> Whereabouts | None:
        """Say where the handler's thread stands."""
        frame = thread_frame(self._places.get(attempt))
        return whereabouts(called(frame), attempt.definition.handler)

    def blocked(self, longer_than: timedelta) -> Blocked | None:
        """Nothing: a thread keeps nobody waiting but itself."""

    def cpu_used(self, attempt: Attempt) -> timedelta | None:
        """Ask the clock of the handler's thread."""
        started = self._clocks.get(attempt)
        if started is None:
            return None
        clock, at = started
        with contextlib.suppress(OSError):  # the thread has ended meanwhile
            return timedelta(seconds=time.clock_gettime(clock) - at)
        return None

    def close(self) -> None:
        """End the idle threads; those with a handler end after it, or with the process."""
        with self._lock:
            threads = self._threads
        for _ in range(threads):
            self._waiting.put(None)

    def _serve(self) -> None:
        while True:
            try:
                attempt = self._waiting.get(timeout=self._idle_for.total_seconds())
            except queue.Empty:
                with self._lock:
                    if self._idle == 0:
                        # An attempt was just promised to this thread.
                        continue
                    self._idle -= 1
                    self._threads -= 1
                return
            if attempt is None:
                return
            self._places[attempt] = threading.get_ident()
            if attempt.definition.cpu_limit is not None and hasattr(time, "pthread_getcpuclockid"):
                # Asked for in the thread itself: for one that has ended it would be a crash.
                clock = time.pthread_getcpuclockid(threading.get_ident())
                self._clocks[attempt] = clock, time.clock_gettime(clock)
            try:
                outcome = run_function(attempt)
            except BaseException as error:  # noqa: BLE001 (an attempt must end, whatever is raised)
                # Raised into the thread from outside, as some libraries' time-outs do.
                outcome = outcome_of(attempt, error)
            del self._places[attempt]
            self._clocks.pop(attempt, None)
            with self._lock:
                self._idle += 1
            self._on_done(attempt, outcome)
            del attempt, outcome
