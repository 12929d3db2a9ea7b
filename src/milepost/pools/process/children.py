"""One child process as its worker sees it."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import psutil

from milepost.jobs.outcomes import Crashed, Failed, Outcome
from milepost.jobs.scope import within
from milepost.pools.attempt import Attempt
from milepost.pools.execution import outcome_of
from milepost.pools.notes import Notes
from milepost.pools.process.endings import spell_ending, spell_last, spell_size
from milepost.pools.process.launcher import Ending, Launcher
from milepost.pools.process.messages import (
    Broken,
    Done,
    End,
    Force,
    FromChild,
    Logged,
    Noted,
    Ready,
    Run,
    Setup,
    Stop,
    ToChild,
    pack,
    read_from_child,
)
from milepost.pools.process.printed import LINES_KEPT, LONGEST_LINE, Printed

# Seconds until a cancelled task is interrupted, and until the process is killed.
INTERRUPT_AFTER: Final = 0.25
KILL_AFTER: Final = 0.5
# How long a child without a channel may still take to end by itself.
CHANNEL_GRACE: Final = 0.2
# How long the launcher may take to tell of a child that was killed.
KILL_SEEN_WITHIN: Final = 10.0
# How long what an ended child wrote last may take to arrive.
LAST_WORDS: Final = 0.1
# How long cleaning up may take.
END_GRACE: Final = 5.0
# Threads without end starve the whole machine long before memory does.
MOST_THREADS: Final = 1000

logger = logging.getLogger("milepost.pools")


class ChildProcess:
    """Starts a process, gives it attempts one at a time, and knows how it ended.

    For one loop. `attempt` is the one that it runs; `ending` that it gets no other.
    """

    def __init__(
        self,
        launcher: Launcher,
        setup: Setup,
        notes: Notes,
        *,
        on_free: Callable[["ChildProcess"], None],
        on_done: Callable[[Attempt, Outcome | None], None],
    ) -> None:
        self._launcher = launcher
        self._setup = setup
        self._notes = notes
        self._on_free = on_free
        self._on_done = on_done
        self._loop = asyncio.get_running_loop()
        self._writer: asyncio.StreamWriter | None = None
        self._process: psutil.Process | None = None
        self._printed = Printed()
        self._logged: deque[str] = deque(maxlen=LINES_KEPT)
        self._killed_for: str | None = None
        self._cpu_at_start = 0.0
        self._cpu = 0.0
        self.pid = 0
        self.attempt: Attempt | None = None
        self.ready = False
        self.ending = False
        self.died_unasked = False
        self.broken: str | None = None
        self.ran = 0
        self.memory = 0
        self.free_since = 0.0
        self.began_at = time.monotonic()

    @property
    def is_free(self) -> bool:
        """Whether it takes an attempt now."""
        return self.ready and self.attempt is None and not self.ending

    async def live(self) -> None:
        """Start, serve and return when the process is no more; an attempt it had has its outcome.

        Raises LauncherGone or OSError where it could not be started.
        """
        ours, theirs = socket.socketpair()
        printed, errors = os.pipe()
        try:
            launched = await self._launcher.launch(theirs, errors)
            self.pid = launched.pid
            with contextlib.suppress(psutil.Error):
                self._process = psutil.Process(self.pid)
        except BaseException:
            ours.close()
            os.close(printed)
            raise
        finally:
            theirs.close()
            os.close(errors)
        listening = asyncio.create_task(self._listen(ours))
        reading = asyncio.create_task(self._printed.read(printed))
        ending = launched.ending
        first: list[asyncio.Future[Any]] = [listening, ending]
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        told, self.ending = self.ending, True
        self.died_unasked = not told
        if not ending.done():
            # It has said that it goes, or has closed what is not its own: then it must go.
            await asyncio.wait([ending], timeout=END_GRACE if told else CHANNEL_GRACE)
            if not ending.done():
                self._killed_for = self._killed_for or "it closed its connection to the worker"
                self.kill()
        await asyncio.wait([ending], timeout=KILL_SEEN_WITHIN)
        # One that cannot even be killed is left alone: its attempt must end.
        ended = ending.result() if ending.done() else Ending(-signal.SIGKILL, None)
        self.ending = True
        _, late = await asyncio.wait([listening, reading], timeout=LAST_WORDS)
        for task in late:
            task.cancel()
        await asyncio.wait([listening, reading])
        self._say_how_it_ended(ended)

    def begin(self, attempt: Attempt) -> None:
        """Send an attempt; its token's stop, whenever that comes, goes the same way.

        One that is to stop already ends at once, and the child is still free.
        """
        try:
            attempt.begin()
        except BaseException as lost:  # noqa: BLE001 (somebody else has its job by now)
            self._on_done(attempt, outcome_of(attempt, lost))
            return
        self.attempt = attempt
        self.ran += 1
        self._printed.lines.clear()
        self._logged.clear()
        if attempt.definition.cpu_limit is not None:
            self._cpu_at_start = self._cpu = self._cpu_now()
        self._send(Run(attempt.carried_job()))
        attempt.token.on_stop(lambda: self._told_to_stop(attempt))

    def force(self, attempt: Attempt) -> None:
        """Cancel its task, interrupt its thread, end the process: each a little later."""
        if attempt.definition.is_async:
            self._send(Force(attempt.lease, "cancel"))
            self._loop.call_later(INTERRUPT_AFTER, self._send, Force(attempt.lease, "interrupt"))
        else:
            self._send(Force(attempt.lease, "interrupt"))
        self._loop.call_later(KILL_AFTER, self._kill_running, attempt)

    def end(self) -> None:
        """Let the process clean up and go."""
        if self.ending:
            return
        self.ending = True
        self._send(End())
        self._loop.call_later(END_GRACE, self.kill)

    def kill(self) -> None:
        """End the process now."""
        self.ending = True
        self._launcher.signal(self.pid, signal.SIGKILL)

    def cpu_used(self) -> timedelta:
        """How much CPU time the process has used for its attempt, if that has a limit."""
        return timedelta(seconds=self._cpu - self._cpu_at_start)

    def measure(self) -> None:
        """Look at what the process uses, and end it where that is too much."""
        if self._process is None or not self.pid:
            return
        try:
            self.memory = self._process.memory_info().rss
            threads = self._process.num_threads()
        except psutil.Error:
            return
        if self.attempt is None or self.ending:
            return
        if self.attempt.definition.cpu_limit is not None:
            self._cpu = self._cpu_now()
        limit = self.attempt.definition.memory_limit
        if limit is not None and self.memory > limit:
            self._kill_for(
                f"memory limit: used {spell_size(self.memory)}, and {spell_size(limit)} are allowed"
            )
        elif threads > MOST_THREADS:
            self._kill_for(
                f"thread limit: had {threads:,} threads, and {MOST_THREADS:,} are allowed"
            )

    def _cpu_now(self) -> float:
        if self._process is None:
            return 0.0
        try:
            times = self._process.cpu_times()
        except psutil.Error:
            return self._cpu
        return float(times.user + times.system)

    def _kill_for(self, why: str) -> None:
        self._killed_for = why
        self.kill()

    def _kill_running(self, attempt: Attempt) -> None:
        if self.attempt is attempt:
            self.kill()

    def _told_to_stop(self, attempt: Attempt) -> None:
        # In any thread, and perhaps after the pool has ended.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._pass_on, attempt)

    def _pass_on(self, attempt: Attempt) -> None:
        why = attempt.token.why
        if self.attempt is attempt and why is not None:
            self._send(Stop(attempt.lease, type(why).__name__, str(why)))

    def _send(self, message: ToChild) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(pack(message))

    async def _listen(self, connection: socket.socket) -> None:
        reader, self._writer = await asyncio.open_connection(sock=connection)
        try:
            self._send(self._setup)
            while (told := await read_from_child(reader)) is not None:
                self._hear(told)
        except ValueError as error:
            self._killed_for = f"it sent what is no message: {error}"
        finally:
            self._writer.close()

    def _hear(self, told: FromChild) -> None:
        match told:
            case Ready():
                self.ready = True
                self._become_free()
            case Broken(error):
                self.broken = error
                self.ending = True
            case Noted():
                self._note(told)
            case Done(lease) if self.attempt is not None and self.attempt.lease == lease:
                outcome = told.read()
                attempt, self.attempt = self.attempt, None
                self._on_done(attempt, outcome)
                if told.spent:
                    self.end()
                else:
                    self._become_free()
            case Done():
                pass

    def _become_free(self) -> None:
        self.free_since = time.monotonic()
        self._on_free(self)

    def _note(self, noted: Noted) -> None:
        attempt = self.attempt
        if attempt is not None and attempt.lease == noted.lease:
            if noted.heard:
                attempt.heard_at = time.monotonic()
            if noted.progress is not None:
                self._notes.progress(attempt.lease, noted.progress)
            if noted.checkpoint is not None:
                self._notes.checkpoint(attempt.lease, noted.checkpoint)
        for line in noted.lines:
            self._notes.line(line)
            self._logged.append(f"{line.level}: {line.message[:LONGEST_LINE]}")
        for record in noted.logged:
            try:
                _log(record)
            except Exception:
                # The program's own filters and factories: no fault of the child's.
                logger.exception("a record of a child process could not be logged")

    def _say_how_it_ended(self, ended: Ending) -> None:
        attempt = self.attempt
        if attempt is None:
            if self.died_unasked and self.ready:
                logger.warning("without a job, %s", spell_ending(ended, self._killed_for))
            return
        why = attempt.token.why
        last = spell_last(self._printed.lines, self._logged)
        outcome: Outcome | None
        if self._killed_for is not None and self._killed_for.partition(":")[0].endswith(" limit"):
            outcome = Failed(self._killed_for, last)
        elif why is not None:
            # Told to stop; that it had to be forced is no news about its job.
            outcome = outcome_of(attempt, why)
        else:
            outcome = Crashed(spell_ending(ended, self._killed_for), last)
        self.attempt = None
        self._on_done(attempt, outcome)


def _log(record: Logged) -> None:
    own = logging.getLogger(record.name)
    if not own.isEnabledFor(record.level):
        return
    made = own.makeRecord(
        record.name, record.level, "(child process)", 0, "%s", (record.text,), None,
        extra={**record.scope.known(), "milepost_fields": record.fields},
    )  # fmt: skip
    made.created = record.created
    with within(record.scope):
        own.handle(made)
