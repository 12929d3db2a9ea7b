"""Child processes: a handler that burns CPU, leaks, crashes or hangs costs only itself."""

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from milepost.jobs.outcomes import Crashed, Interrupted, Outcome
from milepost.jobs.scope import Scope, within
from milepost.pools.attempt import Attempt, Surroundings
from milepost.pools.execution import outcome_of
from milepost.pools.frames import Whereabouts
from milepost.pools.pool import Blocked, OnDone
from milepost.pools.process.children import ChildProcess
from milepost.pools.process.launcher import Launcher, LauncherGone
from milepost.pools.process.origins import Origin
from milepost.pools.process.setups import setup_of
from milepost.settings import ProcessSettings

MEASURE_EVERY: Final = 0.1  # seconds
# As many attempts may wait as have ended in this time: so none waits much longer than that.
TURNOVER: Final = 0.25  # seconds
# One that waits for so long all the same goes back: another worker may have room. It waits longer
# where a child is about to be ready.
WAITS_AT_MOST: Final = 1.0  # seconds
WAITS_FOR_A_START: Final = 10.0  # seconds
# An import that takes longer hangs.
START_WITHIN: Final = 60.0  # seconds
# After children could not be started.
FIRST_PAUSE: Final = 0.5  # seconds
LONGEST_PAUSE: Final = 30.0  # seconds
CLOSE_WITHIN: Final = 3.0  # seconds

logger = logging.getLogger("milepost.pools")


class ProcessPool:
    """Runs each handler in a child process that runs nothing else meanwhile.

    Everything but the verbs of the port happens on a loop of its own, in a thread of its own.
    """

    def __init__(
        self, on_done: OnDone, around: Surroundings, origin: Origin, settings: ProcessSettings
    ) -> None:
        self._on_done = on_done
        self._around = around
        self._origin = origin
        self._settings = settings
        self._thread = threading.Thread(target=self._serve, name="milepost-processes", daemon=True)
        self._loop = asyncio.new_event_loop()
        self._inbox: deque[Attempt] = deque()
        self._waiting: deque[Attempt] = deque()
        self._children: list[ChildProcess] = []
        self._lives: set[asyncio.Task[None]] = set()
        self._launcher: Launcher | None = None
        self._running: dict[Attempt, ChildProcess] = {}
        self._ended: deque[float] = deque(maxlen=settings.most_waiting)
        # Taken and not ended; counted in the caller's thread too.
        self._taken = 0
        self._counting = threading.Lock()
        self._failed_starts = 0
        self._paused_until = 0.0
        self._closing = False

    def start(self) -> None:
        """Start the loop's thread, and as many children as are to be kept ready."""
        self._thread.start()
        self._loop.call_soon_threadsafe(self._open)

    def run(self, attempts: Sequence[Attempt]) -> None:
        """Begin attempts, each in a child of its own, as soon as there is one."""
        with self._counting:
            self._taken += len(attempts)
        self._inbox.extend(attempts)
        self._call(self._accept)

    def force(self, attempt: Attempt) -> None:
        """Interrupt the handler, then end its process."""
        self._call(self._force, attempt)

    def where(self, attempt: Attempt) -> Whereabouts | None:
        """Name the process that runs the handler; where it stands there is not known here."""
        child = self._running.get(attempt)
        return None if child is None else Whereabouts(f"process {child.pid}", None)

    def blocked(self, longer_than: timedelta) -> Blocked | None:
        """Nothing: a process keeps nobody waiting but itself."""

    def room(self) -> int:
        """How many more attempts would begin at once, or after a moment."""
        children = list(self._children)
        if time.monotonic() < self._paused_until:
            processes = sum(child.ready and not child.ending for child in children)
        else:
            # One that cleans up still takes the place of another.
            processes = self._settings.most - sum(child.ending for child in children)
        since = time.monotonic() - TURNOVER
        may_wait = sum(at > since for at in list(self._ended))
        waiting = self._taken - processes
        # A claim costs the same for one job as for many: none before half of them have begun.
        return 0 if waiting > may_wait // 2 else max(0, may_wait - waiting)

    def cpu_used(self, attempt: Attempt) -> timedelta | None:
        """Ask the process of the handler, as it was a moment ago."""
        child = self._running.get(attempt)
        if child is None or attempt.definition.cpu_limit is None:
            return None
        return child.cpu_used()

    def close(self) -> None:
        """End all children; what still runs is killed."""
        if not self._thread.is_alive():
            self._loop.close()
            return
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join(CLOSE_WITHIN + 1)

    def _call(self, act: Callable[..., None], *args: object) -> None:
        # Nothing is left to do where the pool has ended.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(act, *args)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            with within(Scope(worker=self._around.worker_id)):
                self._loop.run_forever()
        finally:
            self._loop.close()

    def _open(self) -> None:
        self._measuring = self._loop.create_task(self._measure())
        for _ in range(self._settings.least):
            self._launch()

    def _accept(self) -> None:
        while self._inbox:
            attempt = self._inbox.popleft()
            self._waiting.append(attempt)
            attempt.token.on_stop(functools.partial(self._call, self._withdraw, attempt))
        self._dispatch()

    def _withdraw(self, attempt: Attempt) -> None:
        """End an attempt that was told to stop while it waited."""
        why = attempt.token.why
        if why is not None and attempt in self._waiting:
            self._waiting.remove(attempt)
            self._finish(attempt, outcome_of(attempt, why))

    def _dispatch(self) -> None:
        for child in list(self._children):
            while self._waiting and child.is_free:
                attempt = self._waiting.popleft()
                self._running[attempt] = child
                child.begin(attempt)
        starting = sum(not child.ready and not child.ending for child in self._children)
        for _ in range(len(self._waiting) - starting):
            if not self._launch():
                return

    def _launch(self) -> bool:
        # Those that clean up count too: the limit is one of processes.
        if self._closing or len(self._children) >= self._settings.most:
            return False
        if time.monotonic() < self._paused_until:
            return False
        if self._launcher is None or self._launcher.gone:
            launcher = Launcher(self._origin, self._settings.start, on_method=_tell_method)
            try:
                launcher.open()
            except OSError as error:
                self._pause(str(error))
                return False
            self._launcher = launcher
        child = ChildProcess(
            self._launcher, setup_of(self._around, self._origin), self._around.notes,
            on_free=self._on_free, on_done=self._finish,
        )  # fmt: skip
        self._children.append(child)
        life = self._loop.create_task(self._see_through(child))
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)
        return True

    async def _see_through(self, child: ChildProcess) -> None:
        try:
            await child.live()
        except LauncherGone:
            child.broken = "the process that starts the others has ended"
        except Exception as error:
            child.broken = f"{type(error).__name__}: {error}"
            logger.exception("a child process could not be seen through")
            child.kill()
        self._children.remove(child)
        if child.attempt is not None:
            # Without an outcome it would keep its lease for ever.
            self._finish(child.attempt, Crashed(f"its process was lost: {child.broken}"))
        if child.ran:
            self._failed_starts = 0
        elif not self._closing and (child.died_unasked or not child.ready):
            self._pause(child.broken or "it ended before it had run anything")
        self._keep_ready()
        self._dispatch()

    def _pause(self, why: str) -> None:
        """Start no more for a while, and let others have what waits here."""
        if time.monotonic() < self._paused_until:
            # Several of one try fail together: that is one failure.
            return
        self._failed_starts += 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failed_starts - 1, 10))
        self._paused_until = time.monotonic() + pause
        logger.error("a child process could not be started, next try in %.1f s: %s", pause, why)
        if not any(child.ready for child in self._children):
            while self._waiting:
                self._finish(self._waiting.popleft(), Interrupted())

    def _on_free(self, child: ChildProcess) -> None:
        if child.ran >= self._settings.most_jobs or self._has_grown(child):
            child.end()
        self._dispatch()

    def _has_grown(self, child: ChildProcess) -> bool:
        # One that is too large from the start would only be replaced by another such.
        return child.ran > 0 and child.memory > self._settings.most_memory

    def _finish(self, attempt: Attempt, outcome: Outcome | None) -> None:
        if self._running.pop(attempt, None) is not None:
            self._ended.append(time.monotonic())
        with self._counting:
            self._taken -= 1
        self._on_done(attempt, outcome)

    def _force(self, attempt: Attempt) -> None:
        child = self._running.get(attempt)
        if child is not None:
            child.force(attempt)

    async def _measure(self) -> None:
        while True:
            await asyncio.sleep(MEASURE_EVERY)
            try:
                self._look_around()
            except Exception:
                # One bad look must not be the last.
                logger.exception("the child processes could not be looked at")

    def _look_around(self) -> None:
        for child in list(self._children):
            child.measure()
        self._give_back_waiting()
        self._end_hanging()
        self._end_idle()
        self._keep_ready()
        self._dispatch()

    def _give_back_waiting(self) -> None:
        starting = any(not child.ready for child in self._children)
        longest = WAITS_FOR_A_START if starting else WAITS_AT_MOST
        while self._waiting and time.monotonic() - self._waiting[0].claimed_at > longest:
            self._finish(self._waiting.popleft(), Interrupted())

    def _end_hanging(self) -> None:
        late = time.monotonic() - START_WITHIN
        hanging = [each for each in self._children if not each.ready and each.began_at < late]
        for child in hanging:
            child.broken = f"it was not ready within {START_WITHIN:.0f} s"
            if child.pid:
                child.kill()
            elif self._launcher is not None:
                # It is the launcher itself that hangs, with no child yet.
                self._launcher.close()

    def _end_idle(self) -> None:
        now, idle_for = time.monotonic(), self._settings.idle_for.total_seconds()
        staying = [child for child in self._children if not child.ending]
        for place, child in enumerate(staying):
            if not child.ready or child.attempt is not None:
                continue
            surplus = place >= self._settings.least and now - child.free_since >= idle_for
            if surplus or self._has_grown(child):
                child.end()

    def _keep_ready(self) -> None:
        staying = sum(not child.ending for child in self._children)
        for _ in range(self._settings.least - staying):
            if not self._launch():
                return

    def _end(self) -> None:
        self._closing = True
        for child in self._children:
            if child.attempt is None and child.ready:
                child.end()
            else:
                child.kill()
        self._closing_task = self._loop.create_task(self._close())

    async def _close(self) -> None:
        self._measuring.cancel()
        deadline = time.monotonic() + CLOSE_WITHIN
        while any(child.ready for child in self._children) and time.monotonic() < deadline:
            # Those that are ready clean up; the others have nothing to clean up yet.
            await asyncio.wait(self._lives, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
        if self._launcher is not None:
            self._launcher.close()
        await asyncio.wait([self._measuring, *self._lives], timeout=1)
        self._loop.stop()


def _tell_method(method: str, why: str | None) -> None:
    if why is None:
        logger.debug("child processes start by %s", method)
    else:
        logger.info("child processes start by %s, which takes longer: %s", method, why)
