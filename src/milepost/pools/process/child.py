"""A child process: runs one attempt after the other, and saves for itself.

Its main thread runs the handlers, so that a signal can interrupt them. A second thread listens to
the worker, a third one tells it what handlers note.
"""

import asyncio
import contextlib
import contextvars
import faulthandler
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

from milepost import errors
from milepost.errors import AttemptStopped
from milepost.jobs.outcomes import Outcome
from milepost.jobs.tracing import Tracing
from milepost.pools.attempt import Attempt, Equip, Surroundings
from milepost.pools.execution import outcome_of, run_coroutine, run_function
from milepost.pools.notes import Notes
from milepost.pools.process.launching import (
    CHANNEL,
    adopt_orphans,
    die_with_parent,
    own_children,
)
from milepost.pools.process.memory import allow_again, allow_memory
from milepost.pools.process.messages import (
    Broken,
    Channel,
    Done,
    End,
    Force,
    Noted,
    Ready,
    Run,
    Setup,
    Stop,
)
from milepost.pools.process.origins import Application, Origin, load, resolve
from milepost.pools.process.records import Records
from milepost.services import svcs
from milepost.store.database import open_database

# Exit codes: the channel to the worker is gone; this child could not start.
CHANNEL_LOST: Final = 82
CANNOT_START: Final = 83

NOTE_EVERY: Final = 0.05  # seconds
NOTE_IDLE_EVERY: Final = 1.0  # seconds
# What handlers have started and nobody has waited for stays in the system's table of processes.
MOST_CHILDREN: Final = 100


def prepare(origin: dict[str, Any]) -> Callable[[int], None]:
    """Import the application before the fork; returns what each fork is to run."""
    application = load(Origin(**origin))

    def forked(channel: int) -> None:
        if "numpy" in sys.modules:
            # Python's own generator begins anew after a fork; numpy's would say the same in each.
            sys.modules["numpy"].random.seed()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _serve(channel, application)

    return forked


def main() -> None:
    """Run in a new interpreter, whose parent's id is its argument."""
    die_with_parent(signal.SIGKILL, of=int(sys.argv[1]))
    adopt_orphans()
    _serve(CHANNEL, None)


def _serve(descriptor: int, application: Application | None) -> NoReturn:
    os.set_inheritable(descriptor, False)
    channel = Channel(socket.socket(fileno=descriptor))
    setup = channel.receive()
    if not isinstance(setup, Setup):
        os._exit(CHANNEL_LOST)
    faulthandler.enable()
    with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or none
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    _be_the_first_to_go()
    try:
        found = application or load(setup.origin)
        child = Child(channel, setup, found)
    except BaseException as error:  # noqa: BLE001 (whatever an application raises at import)
        channel.send(Broken(f"{type(error).__name__}: {error}"))
        os._exit(CANNOT_START)
    child.serve()
    # Past the handlers of `atexit`: a fork has inherited the launcher's.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()
    os._exit(0)


def _be_the_first_to_go() -> None:
    """Let the kernel, when memory is short, choose this process and not its worker."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _equip(setup: Setup) -> Tracing | None:
    if setup.equip is None:
        return None
    equip: Equip = resolve(setup.equip)
    return equip(setup.telemetry)


class Child:
    """Runs attempts in this process until it is told to end."""

    def __init__(self, channel: Channel, setup: Setup, application: Application) -> None:
        self._channel = channel
        self._definitions = application.definitions
        self._records = Records()
        self._notes = Notes()
        self._database = open_database(setup.database_url)
        self._tracing = _equip(setup)
        self._surroundings = Surroundings(
            database=self._database,
            store_id=setup.store_id,
            services=application.services,
            notes=self._notes,
            largest_checkpoint=setup.largest_checkpoint,
            largest_result=setup.largest_result,
            largest_args=setup.largest_args,
            worker_id=setup.worker_id,
            tracing=self._tracing,
        )
        self._container = svcs.Container(application.services)
        self._runner = asyncio.Runner()
        self._inbox: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        # The one that was sent; the one whose handler runs, which a signal may interrupt.
        self._attempt: Attempt | None = None
        self._running: Attempt | None = None
        self._task: asyncio.Task[Outcome | None] | None = None
        self._busy = threading.Event()
        self._noting = threading.Lock()
        self._heard_at = 0.0
        self._spent = False
        root = logging.getLogger()
        root.handlers[:] = [self._records]
        for name, level in setup.log_levels.items():
            logging.getLogger(name).setLevel(level)
        self._forced = False
        self._pid = os.getpid()

    def serve(self) -> None:
        """Run what is sent, and return after what was built has been cleaned up."""
        for work in (self._listen, self._note):
            threading.Thread(target=work, name=f"milepost-{work.__name__}", daemon=True).start()
        self._send(Ready())
        while (attempt := self._inbox.get()) is not None:
            self._run(attempt)
            del attempt
        try:
            self._runner.run(self._container.aclose())
        except Exception:
            logging.getLogger("milepost.jobs").exception("a service could not be cleaned up")
        self._runner.close()
        self._database.close(wait=False)
        if self._tracing is not None:
            self._tracing.close()
        self._tell()

    def _run(self, attempt: Attempt) -> None:
        outcome: Outcome | None
        allowed = allow_memory(attempt.definition.memory_limit)
        try:
            # Each time anew: the handler before may have put its own there.
            signal.signal(signal.SIGTERM, self._interrupt)
            self._forced = False
            self._running = attempt
            outcome = self._outcome(attempt)
            self._running = None
        except BaseException as error:  # noqa: BLE001 (an attempt must end, whatever is raised)
            # A signal that came outside of the handler's own lines: in the loop, or on our way out.
            self._running = None
            outcome = outcome_of(attempt, error)
            self._spent = True
        if os.getpid() != self._pid:
            # The handler has forked, and this is the copy: it speaks for nobody.
            os._exit(0)
        abandoned = self._task is not None and not self._task.done()
        self._task = None
        if not allow_again(allowed) or len(own_children()) > MOST_CHILDREN:
            self._spent = True
        self._busy.clear()
        self._tell()
        self._attempt = None
        self._send(Done.of(attempt.lease, outcome, spent=self._spent))
        if abandoned:
            # Cleaning up would let the loop turn, and with it a handler whose job has ended.
            os._exit(0)

    def _outcome(self, attempt: Attempt) -> Outcome | None:
        if not attempt.definition.is_async:
            # As each thread and task has it: what one job sets there is not for the next.
            return contextvars.copy_context().run(run_function, attempt, self._container)
        return self._runner.run(self._coroutine(attempt))

    async def _coroutine(self, attempt: Attempt) -> Outcome | None:
        # A task of its own: to be cancelled without the loop.
        self._task = asyncio.create_task(run_coroutine(attempt, self._container))
        return await self._task

    def _interrupt(self, *_: object) -> None:
        """Raise in the middle of the handler what its token says.

        Only where its worker wants that: a service manager sends SIGTERM to all processes of a
        service, and then the worker first lets them save.
        """
        if os.getpid() != self._pid:
            # A copy that the handler has forked: it goes when it is told to, as any process does.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        attempt = self._running
        if self._forced and attempt is not None and attempt.token.why is not None:
            # Whatever it was in the middle of, and had started, stays as it is until we end.
            self._spent = True
            raise attempt.token.why

    def _listen(self) -> None:
        try:
            while (told := self._channel.receive()) is not None:
                self._obey(told)
        except Exception:  # noqa: BLE001 (the worker keeps what we print last)
            traceback.print_exc()
        # The worker is gone, or the channel is: nobody would hear of what goes on here.
        os._exit(CHANNEL_LOST)

    def _obey(self, told: object) -> None:
        match told:
            case Run(job):
                self._attempt = Attempt(job, self._definitions[job.kind], self._surroundings)
                self._inbox.put(self._attempt)
                self._busy.set()
            case Stop(lease, why, reason):
                if self._attempt is not None and self._attempt.lease == lease:
                    stop: type[AttemptStopped] = getattr(errors, why)
                    self._attempt.token.stop(stop(reason))
            case Force(lease, how):
                if self._attempt is not None and self._attempt.lease == lease:
                    self._force(how)
            case End():
                self._inbox.put(None)

    def _force(self, how: str) -> None:
        if how == "cancel":
            if self._task is not None:
                self._runner.get_loop().call_soon_threadsafe(self._task.cancel)
            return
        self._forced = True
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def _note(self) -> None:
        while True:
            # What a thread logs after its attempt is late, but not lost.
            self._busy.wait(NOTE_IDLE_EVERY)
            time.sleep(NOTE_EVERY)
            try:
                self._tell()
            except Exception:
                # Out of memory, perhaps, within the limit that the handler has used up.
                self._spent = True
                logging.getLogger("milepost.pools").exception("what was noted could not be told")

    def _tell(self) -> None:
        """Send what was noted; in order, because one at a time."""
        with self._noting:
            attempt, taken, logged = self._attempt, self._notes.take(), self._records.take()
            lease = None if attempt is None else attempt.lease
            heard = False
            if attempt is not None and attempt.began is not None:
                # Its beginning is no news to the worker.
                heard = attempt.is_saving or attempt.heard_at > max(attempt.began, self._heard_at)
                self._heard_at = attempt.heard_at
            if not (taken or logged or heard):
                return
            self._send(
                Noted(
                    lease,
                    heard=heard,
                    progress=taken.progress.get(lease) if lease else None,
                    checkpoint=taken.checkpoints.get(lease) if lease else None,
                    lines=taken.lines,
                    logged=logged,
                )
            )

    def _send(self, message: Ready | Noted | Done) -> None:
        try:
            self._channel.send(message)
        except OSError:
            os._exit(CHANNEL_LOST)
