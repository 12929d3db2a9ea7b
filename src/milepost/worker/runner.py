"""Begins attempts in their pools and hears of their end."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

from milepost.errors import JobInterrupted
from milepost.jobs.definition import PoolName
from milepost.jobs.events import AttemptStarted, LeaseWasLost, Observer
from milepost.jobs.leases import ClaimedJob
from milepost.jobs.outcomes import Interrupted, Outcome
from milepost.jobs.registry import AnyDefinition, Registry
from milepost.pools import (
    Attempt,
    CompleteServices,
    CoroutinePool,
    Pool,
    ProcessPool,
    Surroundings,
    ThreadPool,
    origin_of,
)
from milepost.settings import ProcessSettings
from milepost.worker.board import Board, Ended


class Runner:
    """The bridge between the worker's loop and the threads of the pools."""

    def __init__(
        self,
        board: Board,
        registry: Registry,
        surroundings: Surroundings,
        *,
        processes: ProcessSettings,
        complete_services: CompleteServices,
        on_ended: Callable[[], None],
        observe: Observer,
    ) -> None:
        self._board = board
        self._registry = registry
        self._surroundings = surroundings
        self._on_ended = on_ended
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._by_name: dict[PoolName, Pool] = {}
        isolated = [each for each in registry if each.runs_here and each.pool == "process"]
        if isolated:
            # First, because it may refuse, and the others hold something already.
            origin = origin_of(isolated, surroundings.services, complete_services)
            self._by_name["process"] = ProcessPool(self._on_done, surroundings, origin, processes)
        self._by_name["coroutine"] = CoroutinePool(self._on_done)
        self._by_name["thread"] = ThreadPool(self._on_done)
        self.pools: tuple[Pool, ...] = tuple(self._by_name.values())
        # Filled in the pools' threads. One wake-up of our loop serves all that came since.
        self._done: deque[tuple[Attempt, Outcome | None]] = deque()
        self._told = False
        self.changed = asyncio.Event()
        self.stopping = False

    def start(self) -> None:
        """Start the pools."""
        for pool in self.pools:
            pool.start()

    def close(self) -> None:
        """End the pools; what still runs there is left behind."""
        for pool in self.pools:
            pool.close()

    def pool_for(self, definition: AnyDefinition) -> Pool:
        """Where a kind runs."""
        return self._by_name[definition.pool]

    def pool_of(self, attempt: Attempt) -> Pool:
        """Where an attempt runs."""
        return self.pool_for(attempt.definition)

    def begin(self, jobs: Sequence[ClaimedJob]) -> None:
        """Run claimed jobs, each in its pool."""
        begun: dict[Pool, list[Attempt]] = {}
        for job in jobs:
            attempt = Attempt(job, self._registry[job.kind], self._surroundings)
            if self.stopping:
                attempt.token.stop(JobInterrupted("the worker is stopping"))
            self._board.running[job.lease] = attempt
            begun.setdefault(self.pool_of(attempt), []).append(attempt)
            self._observe(
                AttemptStarted(
                    job.lease, job.kind, job.queue, attempt.definition.pool, job.waited_for,
                    job.trace,
                )
            )  # fmt: skip
        for pool, attempts in begun.items():
            pool.run(attempts)

    def give_back(self, jobs: Sequence[ClaimedJob]) -> None:
        """End claimed jobs that have no room here before they begin."""
        for job in jobs:
            attempt = Attempt(job, self._registry[job.kind], self._surroundings)
            self._board.ended.append(Ended(attempt, Interrupted()))
        if jobs:
            self._on_ended()

    def leave_behind(self, attempt: Attempt, outcome: Outcome | None) -> int:
        """End an attempt here whose handler goes on; returns how many such handlers there are."""
        attempt.left_behind = True
        self._board.left_behind.add(attempt)
        self.leave(attempt, outcome)
        return len(self._board.left_behind)

    def leave(self, attempt: Attempt, outcome: Outcome | None) -> None:
        """End an attempt here, whatever its handler does."""
        if self._board.running.pop(attempt.lease, None) is None:
            return
        if outcome is not None:
            self._board.ended.append(Ended(attempt, outcome))
        self.changed.set()
        self._on_ended()

    def _on_done(self, attempt: Attempt, outcome: Outcome | None) -> None:
        self._done.append((attempt, outcome))
        if not self._told:
            self._told = True
            # An attempt that was left behind may end after its worker, and its loop.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        # Lowered before the look: what comes in after it wakes us again.
        self._told = False
        while self._done:
            attempt, outcome = self._done.popleft()
            self._board.left_behind.discard(attempt)
            # One that was left behind has its outcome already.
            if self._board.running.pop(attempt.lease, None) is None:
                continue
            if outcome is not None:
                self._board.ended.append(Ended(attempt, outcome))
            elif not attempt.loss_reported:
                how = str(attempt.token.why)
                self._observe(LeaseWasLost(attempt.lease, attempt.job.kind, how))
        self.changed.set()
        self._on_ended()
