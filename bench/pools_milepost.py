"""Milepost's sides: a pool by itself, driven through its port, and a worker with a SQLite store."""

import asyncio
import contextlib
import queue
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import svcs

from milepost import JobDefinition, Milepost, Settings, WorkerSettings, open_database
from milepost.app import complete_services
from milepost.jobs.events import AttemptFinished, Event
from milepost.jobs.leases import ClaimedJob, Lease
from milepost.jobs.outcomes import Completed, Interrupted, Outcome
from milepost.jobs.states import FINAL
from milepost.pools import (
    Attempt,
    CoroutinePool,
    OnDone,
    Pool,
    ProcessPool,
    Surroundings,
    ThreadPool,
    origin_of,
)
from milepost.settings import ProcessSettings
from milepost.store import schema
from pool_jobs import JOBS, Told
from pool_work import Weight
from pools_peers import MOST_WAITING


class Kind(NamedTuple):
    """One of Milepost's pools."""

    open: Callable[[OnDone, Surroundings, ProcessSettings], Pool]
    # How many attempts a worker gives it at once, for so many threads or children.
    slots: Callable[[int], int]


def _processes(on_done: OnDone, around: Surroundings, settings: ProcessSettings) -> ProcessPool:
    origin = origin_of(jobs_of("process"), around.services, complete_services)
    return ProcessPool(on_done, around, origin, settings)


def jobs_of(kind: str) -> list[JobDefinition[Told, None, Any]]:
    return [each for each in JOBS.values() if each.pool == kind]


def _with_waiting(children: int) -> int:
    return children + MOST_WAITING


KINDS = {
    "coroutine": Kind(lambda on_done, *_: CoroutinePool(on_done), _with_waiting),
    # None waits: the worker's slots alone bound how many threads there are.
    "thread": Kind(lambda on_done, *_: ThreadPool(on_done), lambda children: children),
    "process": Kind(_processes, _with_waiting),
}
GUARANTEES = {
    "Milepost, pool alone": "memory only; cancel asks, then forces (a process: kills it)",
    "Milepost, worker, SQLite": (
        "every job, attempt and outcome on the disk, fenced; runs again whatever has crashed"
    ),
}


class BarePool:
    """A pool without worker and store: attempts in, outcomes out."""

    def __init__(self, kind: str, surroundings: Surroundings, processes: ProcessSettings) -> None:
        self.opened_at = time.monotonic_ns()
        self._kind = kind
        self._surroundings = surroundings
        self._number = 0
        self._ended: queue.SimpleQueue[tuple[Attempt, Outcome | None]] = queue.SimpleQueue()
        self.pool = KINDS[kind].open(
            lambda attempt, outcome: self._ended.put((attempt, outcome)), surroundings, processes
        )

    def run(self, work: str, args: Told, count: int = 1) -> list[Attempt]:
        attempts = [self._attempt(work, args) for _ in range(count)]
        self.pool.run(attempts)
        return attempts

    def next_end(self) -> tuple[Attempt, Outcome | None]:
        return self._ended.get(timeout=60)

    def weight(self) -> Weight:
        """What the next end says, of a child that has weighed itself."""
        attempt, outcome = self.next_end()
        assert isinstance(outcome, Completed), outcome
        return Weight(*attempt.definition.result.load(outcome.result))

    def feed(self, work: str, args: Told, jobs: int, slots: int) -> None:
        """Run so many jobs, as a worker does: what has become free is filled at once."""
        begun = done = 0
        while done < jobs:
            free = min(slots - (begun - done), jobs - begun, self.pool.room())
            if free > 0:
                self.run(work, args, free)
                begun += free
            outcomes = [self.next_end()[1]]
            while not self._ended.empty():
                outcomes.append(self.next_end()[1])
            # Given back, because it has waited for too long: it begins again.
            begun -= outcomes.count(Interrupted())
            done += sum(isinstance(outcome, Completed) for outcome in outcomes)
            assert all(isinstance(each, Completed | Interrupted) for each in outcomes), outcomes

    def _attempt(self, work: str, args: Told) -> Attempt:
        self._number += 1
        definition = JOBS[f"{self._kind}-{work}"]
        job = ClaimedJob(
            Lease(self._number, 1), definition.kind, definition.queue, definition.args.dump(args),
            None, 0, 1, None, None, datetime.now(UTC),
        )  # fmt: skip
        return Attempt(job, definition, self._surroundings)


@contextlib.contextmanager
def bare(kind: str, children: int, start: Literal["fork", "spawn"] = "fork") -> Iterator[BarePool]:
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{folder}/bench.db")
        schema.migrate(database)
        surroundings = Surroundings(database=database, store_id="", services=svcs.Registry())
        opened = BarePool(kind, surroundings, ProcessSettings(most=children, start=start))
        opened.pool.start()
        try:
            yield opened
        finally:
            opened.pool.close()
            database.close()


class Watch:
    """Notes when the last outcome of each job stood in the store."""

    def __init__(self) -> None:
        self.finished: dict[int, float] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, AttemptFinished) and event.state in FINAL:
            self.finished[event.lease.job_id] = time.monotonic()

    async def stood(self, job_id: int) -> float:
        """Wait until a job is final, and say when that was."""
        while job_id not in self.finished:
            await asyncio.sleep(0.002)
        return self.finished[job_id]


class Durable(NamedTuple):
    """A running worker's application, another one on the same store, and what is seen of both."""

    milepost: Milepost
    caller: Milepost
    watch: Watch


@contextlib.asynccontextmanager
async def worker(kind: str, children: int, **settings: Any) -> AsyncIterator[Durable]:
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        given = Settings(
            database_url=f"sqlite:///{folder}/bench.db",
            worker=WorkerSettings(concurrency=KINDS[kind].slots(children), **settings),
            processes=ProcessSettings(most=children),
        )
        async with (
            Milepost(jobs_of(kind), settings=given, observers=[watch]) as milepost,
            Milepost(jobs_of(kind), settings=given, observers=[]) as caller,
            milepost.worker(),
        ):
            yield Durable(milepost, caller, watch)
