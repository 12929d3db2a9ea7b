"""A caller's hold on one job: its result, its progress, its cancellation."""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Connection

from milepost.brokers import Broker, announce, stop_children
from milepost.errors import JobFailed, JobWasCancelled
from milepost.jobs.definition import JobDefinition
from milepost.jobs.leases import JobId
from milepost.jobs.progress import Estimate, estimate
from milepost.jobs.requests import check_priority
from milepost.jobs.states import FINAL, JobState
from milepost.lookout import Lookout
from milepost.signals import Signal, Signals, Topic
from milepost.store import attempts, families, jobs, logs, progress, reading
from milepost.store.database import Database
from milepost.store.flows import Moved

R_co = TypeVar("R_co", covariant=True)

# Signals wake a waiting caller; this is for a lost one.
LOOK_EVERY: Final = timedelta(seconds=1)
CANCEL_WAIT: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What became of a cancel request.

    Cancelled: the job never starts, or has stopped. `finished_first`: it had ended, as `state`
    says. Neither: it was told and still runs.
    """

    job_id: JobId
    state: JobState
    finished_first: bool

    @property
    def cancelled(self) -> bool:
        """Whether the job has stopped because of this or an earlier request."""
        return self.state is JobState.CANCELLED

    def __str__(self) -> str:
        if self.cancelled:
            return f"job {self.job_id} is cancelled"
        if self.finished_first:
            return f"job {self.job_id} had finished first: it is {self.state}"
        return f"job {self.job_id} has been told to stop and still runs"


class JobHandle(Generic[R_co]):
    """One job in its store. Holds no state of its own: each call asks the store."""

    def __init__(
        self,
        job_id: JobId,
        database: Database,
        signals: Signals,
        broker: Broker,
        lookout: Lookout,
        *,
        definition: JobDefinition[Any, Any, R_co] | None = None,
        existed: bool = False,
    ) -> None:
        self.job_id = job_id
        self.existed = existed
        self._database = database
        self._signals = signals
        self._broker = broker
        self._lookout = lookout
        self._definition = definition

    def __repr__(self) -> str:
        return f"<JobHandle {self.job_id}>"

    async def view(self) -> reading.JobView:
        """Read the job as it stands. Raises JobNotFound."""
        return await self._database.query(reading.find, self.job_id)

    async def attempts(self) -> list[attempts.AttemptRecord]:
        """Read the history of attempts."""
        return await self._database.query(attempts.of_job, self.job_id)

    async def flow(self) -> families.Flow:
        """Read the job's place among others: who waits for it, and for whom it waits."""
        return await self._database.query(families.of_job, self.job_id)

    async def logs(self, *, after: int = 0) -> list[logs.LogLine]:
        """Read the log lines after a line's id."""
        return await self._database.query(logs.of_job, self.job_id, after=after)

    async def estimate(self) -> Estimate:
        """Say how fast the job moves and how long it may take; nothing where that is unknown."""
        return estimate(await self._database.query(progress.of_job, self.job_id))

    async def watch(
        self, *, at_least_every: timedelta = LOOK_EVERY
    ) -> AsyncGenerator[reading.JobView, None]:
        """Give the job now, and again whenever it changes, until it is final."""
        with self._lookout.waiting(self.job_id) as waiter:
            while True:
                try:
                    async with asyncio.timeout(at_least_every.total_seconds()):
                        view = await waiter.news()
                except TimeoutError:
                    self._lookout.look(self.job_id)
                    continue
                yield view
                if view.state in FINAL:
                    return

    async def wait(self, timeout: timedelta | None = None) -> reading.JobView:
        """Wait until the job is final. Raises TimeoutError."""
        async with asyncio.timeout(None if timeout is None else timeout.total_seconds()):
            views = self.watch()
            try:
                async for view in views:
                    if view.state in FINAL:
                        return view
            finally:
                await views.aclose()
        raise AssertionError("watch ends with a final state")

    async def result(self, timeout: timedelta | None = None) -> R_co:
        """Wait for the result.

        Raises JobFailed, JobWasCancelled, or TimeoutError.
        """
        view = await self.wait(timeout)
        if view.state is JobState.FAILED:
            raise JobFailed(self.job_id, view.error or "no reason is known")
        if view.state is JobState.CANCELLED:
            raise JobWasCancelled(self.job_id, view.cancel_reason)
        text = view.result or "null"
        if self._definition is None:
            raise TypeError(
                f"job {self.job_id} is of kind {view.kind!r}, which this program does not define; "
                "view() has the result as JSON"
            )
        return self._definition.result.load(text)

    async def cancel(
        self, reason: str | None = None, *, wait: timedelta = CANCEL_WAIT
    ) -> Cancellation:
        """Ask the job to stop, and wait a while to learn what became of it.

        With it those stop that it waits for, unless another job waits for them too. The request is
        stored before this waits, so it holds whatever happens to the caller.
        Raises JobNotFound.
        """
        deadline = time.monotonic() + wait.total_seconds()
        state, moved = await self._database.run(self._request_cancel, reason)
        if moved.stopping:
            await stop_children(self._database, self._signals, self._broker)
        if state is not JobState.RUNNING:
            await self._broker.send([self.job_id, *moved.job_ids])
            first = state in FINAL and state is not JobState.CANCELLED
            return Cancellation(self.job_id, state, finished_first=first)
        try:
            left = timedelta(seconds=max(0, deadline - time.monotonic()))
            state = (await self.wait(left)).state
        except TimeoutError:
            return Cancellation(self.job_id, state, finished_first=False)
        return Cancellation(self.job_id, state, finished_first=state is not JobState.CANCELLED)

    def _request_cancel(self, conn: Connection, reason: str | None) -> tuple[JobState, Moved]:
        moved = Moved()
        state = jobs.cancel(conn, self._database.clock, self.job_id, reason, moved=moved)
        topic = Topic.CANCEL if state is JobState.RUNNING else Topic.SETTLED
        self._signals.announce(conn, Signal(topic, job_ids=(self.job_id,)))
        announce(conn, self._signals, moved)
        return state, moved

    async def retry(self) -> None:
        """Send a failed or cancelled job back to available; it goes on from its checkpoint.

        One that waited for others in vain waits again, and with it those are retried that had
        failed or were cancelled. Who failed because of this job waits again.
        Raises JobNotFound, JobNotRetryable or UniqueKeyTaken.
        """
        moved = await self._database.run(self._retry)
        await self._broker.send([self.job_id, *moved.job_ids])

    async def reprioritise(self, priority: int) -> None:
        """Give a job that waits, or will again, another place in line; 0 runs first.

        On BullMQ it goes behind those that have this priority already.
        Raises JobNotFound, JobEnded or PayloadInvalid.
        """
        check_priority(priority)
        await self._database.run(jobs.reprioritise, self.job_id, priority)
        await self._broker.send([self.job_id])

    def _retry(self, conn: Connection) -> Moved:
        moved = Moved()
        queue = jobs.retry(conn, self._database.clock, self.job_id, moved=moved)
        self._signals.announce(conn, Signal(Topic.AVAILABLE, queue, (self.job_id,)))
        announce(conn, self._signals, moved)
        return moved
