"""One look at the store for all the jobs that callers in this process wait for."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

from milepost.errors import JobNotFound, StoreUnavailable
from milepost.jobs.leases import JobId
from milepost.signals import Signal, Signals, Topic
from milepost.store import reading
from milepost.store.database import Database

Answer = reading.JobView | Exception

# A view may hold megabytes of args, checkpoint and result.
MOST_AT_ONCE: Final = 100


class Waiter:
    """One caller who waits for one job, on his own loop."""

    def __init__(self, job_id: JobId) -> None:
        self.job_id = job_id
        self._loop = asyncio.get_running_loop()
        self._told = asyncio.Event()
        self._answer: Answer | None = None
        self._seen: Answer | None = None

    def tell(self, answer: Answer) -> None:
        """Wake the caller if that is news. From the lookout's thread."""
        if answer != self._answer:
            self._answer = answer
            # His loop may have closed meanwhile.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._told.set)

    async def news(self) -> reading.JobView:
        """Wait for the job to be other than at the last time."""
        while self._answer is self._seen:
            self._told.clear()
            await self._told.wait()
        self._seen = self._answer
        match self._seen:
            case reading.JobView() as view:
                return view
            case Exception() as error:
                raise error
            case None:
                raise AssertionError("woken without an answer")


class Lookout:
    """Told by signals which jobs may have changed, it looks at those that somebody waits for.

    All of them in one query: were each caller to look for himself, whenever anything happens,
    600 of them would ask 600 times for each job that ends.
    """

    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals
        self._lock = threading.Lock()
        self._waiters: dict[JobId, set[Waiter]] = {}
        # What a look found last time; a job that is not here is told of whatever is found.
        self._marks: dict[JobId, tuple[Any, ...]] = {}
        self._due: set[JobId] = set()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False

    @contextlib.contextmanager
    def waiting(self, job_id: JobId) -> Iterator[Waiter]:
        """Wait for news of a job; the first is how it stands."""
        waiter = Waiter(job_id)
        with self._lock:
            self._waiters.setdefault(job_id, set()).add(waiter)
            self._marks.pop(job_id, None)
        self._start()
        self.look(job_id)
        try:
            yield waiter
        finally:
            with self._lock:
                self._waiters[job_id].discard(waiter)
                if not self._waiters[job_id]:
                    del self._waiters[job_id]
                    self._marks.pop(job_id, None)

    def look(self, job_id: JobId) -> None:
        """Look at a job, though no signal told of it."""
        with self._lock:
            self._due.add(job_id)
        self._wake.set()

    def close(self) -> None:
        """Send away who still waits; safe to call twice."""
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
        self._wake.set()
        if thread is not None:
            thread.join()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="milepost-lookout", daemon=True
                )
                self._thread.start()

    def _hear(self, signal: Signal) -> None:
        with self._lock:
            if signal.topic is Topic.ANYTHING:
                self._due.update(self._waiters)
            else:
                self._due.update(self._waiters.keys() & set(signal.job_ids))
            some = bool(self._due)
        if some:
            self._wake.set()

    def _run(self) -> None:
        unsubscribe = self._signals.subscribe(self._hear)
        try:
            while not self._closed:
                self._wake.wait()
                self._wake.clear()
                with self._lock:
                    due, self._due = sorted(self._due & self._waiters.keys()), set()
                for start in range(0, len(due), MOST_AT_ONCE):
                    self._tell(self._look(due[start : start + MOST_AT_ONCE]))
        finally:
            unsubscribe()
            with self._lock:
                left = [waiter for waiters in self._waiters.values() for waiter in waiters]
            for waiter in left:
                waiter.tell(StoreUnavailable(f"closed while job {waiter.job_id} was waited for"))

    def _look(self, job_ids: Sequence[JobId]) -> dict[JobId, Answer]:
        """Read those of these jobs that have changed since the last look."""
        try:
            with self._database.read() as conn:
                marks = reading.marks(conn, job_ids)
                with self._lock:
                    changed = [i for i in job_ids if marks.get(i, ()) != self._marks.get(i)]
                    self._marks.update({i: marks.get(i, ()) for i in changed if i in self._waiters})
                found = reading.find_these(conn, changed) if changed else {}
        except Exception as error:  # noqa: BLE001 (each caller is to know that the store is away)
            return dict.fromkeys(job_ids, error)
        return {job_id: found.get(job_id) or JobNotFound(job_id) for job_id in changed}

    def _tell(self, answers: dict[JobId, Answer]) -> None:
        with self._lock:
            told = [
                (waiter, answer)
                for job_id, answer in answers.items()
                for waiter in self._waiters.get(job_id, ())
            ]
        for waiter, answer in told:
            waiter.tell(answer)
