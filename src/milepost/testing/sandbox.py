"""Runs jobs in a test without a worker: the real store, the real executor, one job at a time."""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from milepost.app import complete_services
from milepost.errors import JobFailed, JobWasCancelled
from milepost.jobs.definition import JobDefinition
from milepost.jobs.leases import ClaimedJob, JobId, Settlement
from milepost.jobs.limits import PLAIN
from milepost.jobs.outcomes import Failed, Misfit, Outcome
from milepost.jobs.requests import request
from milepost.jobs.states import JobState
from milepost.pools import Attempt, Surroundings
from milepost.pools.execution import run_coroutine, run_function
from milepost.services import svcs
from milepost.store import jobs, logs, progress, reading, schema
from milepost.store.database import open_database
from milepost.store.logs import LogLine
from milepost.store.reading import JobView

A = TypeVar("A")
R = TypeVar("R")

WORKER: Final = "sandbox"
LEASE: Final = timedelta(hours=1)

MakeAttempt = Callable[[ClaimedJob, JobDefinition[Any, Any, Any], Surroundings], Attempt]


@dataclass(frozen=True)
class JobRun(Generic[R]):
    """What came of one job: its row, and all it logged."""

    view: JobView
    definition: JobDefinition[Any, Any, R]
    log: tuple[LogLine, ...]

    @property
    def state(self) -> JobState:
        """The state that the run left the job in."""
        return self.view.state

    @property
    def result(self) -> R:
        """The handler's result. Raises JobFailed or JobWasCancelled."""
        if self.state is JobState.CANCELLED:
            raise JobWasCancelled(self.view.id, self.view.cancel_reason)
        if self.state is not JobState.COMPLETED:
            raise JobFailed(self.view.id, self.view.error or f"the job is {self.state}")
        return self.definition.result.load(self.view.result or "null")

    @property
    def checkpoint(self) -> Any:
        """The last checkpoint that the store knows, typed; None where nothing was saved."""
        stored = self.view.checkpoint
        return None if stored is None else self.definition.checkpoint.load(stored)


class Sandbox:
    """A store in a temporary file, and an executor; `async with` it."""

    def __init__(self, services: svcs.Registry | None = None) -> None:
        self._services = complete_services(services)

    async def __aenter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="milepost-", ignore_cleanup_errors=True)
        self.database = open_database(str(Path(self._folder.name) / "store.db"))
        schema.migrate(self.database)
        self._surroundings = Surroundings(
            database=self.database,
            store_id=await self.database.query(reading.store_id),
            services=self._services,
        )
        return self

    async def __aexit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        self.database.close()
        self._folder.cleanup()

    async def run(self, definition: JobDefinition[A, Any, R], args: A) -> JobRun[R]:
        """Submit a job, run one attempt of it, settle it."""
        job_id = await self.submit(definition, args)
        await self.attempt(definition)
        return await self.look(definition, job_id)

    async def submit(self, definition: JobDefinition[A, Any, Any], args: A) -> JobId:
        """Store a job, its args checked."""
        made = request(definition, definition.args.dump(args), {}, largest=1_000_000)
        # One job at a time: there is nothing that it could wait for.
        made = replace(made, lane=PLAIN, repeat=None, delay=None)
        [submitted] = await self.database.run(jobs.submit, self.database.clock, [made])
        return submitted.job_id

    async def attempt(
        self, definition: JobDefinition[Any, Any, Any], make: MakeAttempt = Attempt
    ) -> Outcome | None:
        """Claim the next job of the definition and run one attempt; returns its outcome."""
        clock = self.database.clock
        [job] = await self.database.run(
            jobs.claim, clock, queue=definition.queue, kinds=[definition.kind], limit=1,
            lease_for=LEASE, worker_id=WORKER,
        )  # fmt: skip
        attempt = make(job, definition, self._surroundings)
        if definition.is_async:
            outcome = await run_coroutine(attempt)
        else:
            outcome = await asyncio.to_thread(run_function, attempt)
        await self._flush()
        if isinstance(outcome, Misfit):
            # No newer worker will come for it.
            outcome = Failed(outcome.error, recoverable=False)
        if outcome is not None:
            await self.database.run(jobs.settle, clock, [Settlement(job, outcome)])
        return outcome

    async def rescue(self) -> None:
        """Do what a worker does about the jobs of one that died."""
        await self.database.run(jobs.rescue, self.database.clock, dead_workers=[WORKER])

    async def look(self, definition: JobDefinition[Any, Any, R], job_id: JobId) -> JobRun[R]:
        """Read what has become of a job."""
        view = await self.database.query(reading.find, job_id)
        lines = await self.database.query(logs.of_job, job_id)
        return JobRun(view, definition, tuple(lines))

    async def _flush(self) -> None:
        taken = self._surroundings.notes.take()
        if taken.progress or taken.checkpoints:
            await self.database.run(
                progress.report, self.database.clock, taken.progress, checkpoints=taken.checkpoints
            )
        if taken.lines:
            await self.database.run(logs.write, taken.lines)


async def run_job(
    definition: JobDefinition[A, Any, R], args: A, *, services: svcs.Registry | None = None
) -> JobRun[R]:
    """Run one job once in a test, with the real store and executor and without a worker."""
    async with Sandbox(services) as sandbox:
        return await sandbox.run(definition, args)
