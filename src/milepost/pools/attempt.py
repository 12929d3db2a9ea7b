"""One attempt while it runs: what stands behind its handler's context."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, TypeVar

from sqlalchemy import Connection

from milepost.errors import (
    JobCancelled,
    JobInterrupted,
    LeaseLost,
    PayloadInvalid,
    PayloadTooLarge,
    StoreUnavailable,
)
from milepost.jobs.context import Transactions
from milepost.jobs.flows import ChildRow
from milepost.jobs.leases import ClaimedJob, JobId, Lease
from milepost.jobs.progress import Progress
from milepost.jobs.registry import AnyDefinition
from milepost.jobs.requests import JobRequest, NewChild, request
from milepost.jobs.scope import Scope, within
from milepost.jobs.tokens import CancelToken
from milepost.jobs.tracing import UNTRACED, Fact, Span, Tracing
from milepost.pools.notes import Notes
from milepost.services import svcs
from milepost.settings import TelemetrySettings
from milepost.store import checkpoints, families
from milepost.store import children as family
from milepost.store import progress as store_progress
from milepost.store.database import Database
from milepost.store.logs import LogLine

R = TypeVar("R")
Equip = Callable[[TelemetrySettings], Tracing | None]
"""Sets up a process's log, and its traces where it shall keep any."""
logger = logging.getLogger("milepost.jobs")


@dataclass(frozen=True, slots=True)
class Equipment:
    """How a child process is made to log and trace as its worker does; `equip` is imported."""

    equip: Equip
    settings: TelemetrySettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What all attempts of a worker share.

    `database` is the store with connections of the handlers' own, so that what they write
    never takes the connections that keep their leases alive.
    """

    database: Database
    store_id: str
    services: svcs.Registry
    notes: Notes = field(default_factory=Notes)
    largest_checkpoint: int = 1_000_000
    largest_result: int = 1_000_000
    largest_args: int = 1_000_000
    worker_id: str | None = None
    tracing: Tracing | None = None
    equipment: Equipment | None = None


# After a connection broke, in seconds: how long to try for a new one, and between two tries.
REACHED_WITHIN: Final = 10.0
PAUSE: Final = 0.5


class Attempt:
    """The link between a running handler, the store and the worker."""

    def __init__(
        self, job: ClaimedJob, definition: AnyDefinition, surroundings: Surroundings
    ) -> None:
        self.job = job
        self.definition = definition
        self.token = CancelToken()
        # None until its handler starts: it may wait for long in a pool that something blocks.
        self.claimed_at = time.monotonic()
        self.began: float | None = None
        # When it last saved, or reported progress.
        self.heard_at = self.claimed_at
        self.loss_reported = False
        self.cancel_reported = False
        # When a cancel was asked for that a save of its own has found.
        self.cancel_requested_at: datetime | None = None
        # Settled while its handler runs on: where that has a thread, it keeps it.
        self.left_behind = False
        self.around = surroundings
        self._elsewhere: Transactions | None = None
        self._mirrored = False
        # What the checkpoint's row holds, as far as is known.
        self._saved = job.checkpoint
        # A handler may save from several threads or tasks; its checkpoints stay in order.
        self._saving = threading.Lock()

    @property
    def lease(self) -> Lease:
        """The attempt."""
        return self.job.lease

    @property
    def scope(self) -> Scope:
        """What its handler's lines in a log belong to."""
        return Scope.of(self.job, self.around.worker_id)

    @property
    def scheduled_for(self) -> datetime | None:
        """The moment of its schedule that its job is for."""
        return self.job.scheduled_for

    def entered(self) -> AbstractContextManager[None]:
        """Let the handler in the block belong to its job, in logs and traces."""
        tracing = self.around.tracing
        return within(self.scope) if tracing is None else self._entered(tracing)

    @contextlib.contextmanager
    def _entered(self, tracing: Tracing) -> Iterator[None]:
        with within(self.scope), tracing.entered(self.job):
            yield

    def carried_job(self) -> ClaimedJob:
        """The job as a handler in another process gets it."""
        tracing = self.around.tracing
        return self.job._replace(trace=tracing.carried(self.job)) if tracing else self.job

    def span(self, name: str, facts: Mapping[str, Fact]) -> AbstractContextManager[Span]:
        """Let a block be a span of the job's trace, where traces are kept."""
        tracing = self.around.tracing
        return tracing.span(name, facts) if tracing else contextlib.nullcontext(UNTRACED)

    @property
    def is_saving(self) -> bool:
        """Whether a save is under way: however long it takes, that is no silence."""
        return self._saving.locked()

    def begin(self) -> None:
        """Start the clock of the time limit. Raises a stop for good that has come before.

        While its worker stops it still may begin: what is short ends within the grace period.
        """
        self.token.raise_if_cancelled()
        self.began = self.heard_at = time.monotonic()

    def commit(
        self,
        checkpoint: str,
        write: Callable[[Connection], object] | None,
        progress: Progress | None,
    ) -> None:
        """Commit the write and the checkpoint, or neither; then raise a stop that is due."""
        size = len(checkpoint.encode())
        if size > self.around.largest_checkpoint:
            raise PayloadTooLarge(
                self.definition.checkpoint.what, size, self.around.largest_checkpoint
            )
        with self._saving:
            if isinstance(self.token.why, LeaseLost):
                raise self.token.why
            try:
                if self._elsewhere is None:
                    self._commit_in_store(checkpoint, write)
                else:
                    self._commit_beside(self._elsewhere, checkpoint, write)
            except LeaseLost as lost:
                self.token.stop(lost)
                raise
            self._saved = checkpoint
            self.heard_at = time.monotonic()
        if progress is not None:
            self.around.notes.progress(self.lease, progress)
        # Only now: what was done so far is safe, and here the handler expects an exception.
        self.token.raise_if_stopped()

    def _commit_in_store(
        self, checkpoint: str, write: Callable[[Connection], object] | None
    ) -> None:
        database = self.around.database
        try:
            with database.begin() as conn:
                if write is not None:
                    write(conn)
                held = checkpoints.save(conn, self.lease, checkpoint)
        except StoreUnavailable as lost:
            found, held = self._find(database, lambda c: checkpoints.find(c, self.lease), lost)
            self._ensure_stands(found, checkpoint, lost)
        if held.cancel_requested:
            self.cancel_requested_at = held.cancel_requested_at
            self.token.stop(JobCancelled(held.cancel_reason or "cancel was requested"))

    def _commit_beside(
        self,
        elsewhere: Transactions,
        checkpoint: str,
        write: Callable[[Connection], object] | None,
    ) -> None:
        try:
            with elsewhere.begin() as conn:
                if write is not None:
                    write(conn)
                checkpoints.save_beside(
                    conn, self.around.database.clock_for(conn), self.around.store_id,
                    self.lease, checkpoint,
                )  # fmt: skip
        except StoreUnavailable as lost:
            store_id = self.around.store_id
            found = self._find(
                elsewhere, lambda c: checkpoints.find_beside(c, store_id, self.lease), lost
            )
            self._ensure_stands(found, checkpoint, lost)
        if not self._mirrored and checkpoint != self.job.checkpoint:
            with contextlib.suppress(StoreUnavailable):
                self._mirror(checkpoint)
                return
        self.around.notes.checkpoint(self.lease, checkpoint)

    def _mirror(self, checkpoint: str) -> None:
        # The first new one at once: if the worker dies now, its death is not the job's doing.
        with self.around.database.begin() as conn:
            store_progress.report(
                conn, self.around.database.clock, {}, checkpoints={self.lease: checkpoint}
            )
        self._mirrored = True

    def _find(
        self, database: Transactions, find: Callable[[Connection], R], lost: StoreUnavailable
    ) -> R:
        """Read on a new connection, after some tries while the lease may last."""
        give_up_at = time.monotonic() + REACHED_WITHIN
        while True:
            try:
                with database.begin() as conn:
                    return find(conn)
            except StoreUnavailable:
                if isinstance(self.token.why, LeaseLost):
                    raise self.token.why from lost
                if time.monotonic() > give_up_at:
                    raise _interrupted(lost) from lost
            time.sleep(PAUSE)

    def _ensure_stands(self, found: str | None, checkpoint: str, lost: StoreUnavailable) -> None:
        """Return if the commit whose answer was lost stands; else the attempt ends, at no cost."""
        # What was there before as well says nothing. Then the next attempt does again what it
        # would do after a crash.
        if found == checkpoint != self._saved:
            return
        # A write that breaks its connection each time must not spin.
        time.sleep(PAUSE)
        raise _interrupted(lost) from lost

    def take_over(self, database: Transactions) -> str | None:
        """Keep the checkpoint in another database from now on; returns the one that is there."""
        if isinstance(database, Database) and database.same_as(self.around.database):
            return self.job.checkpoint
        with database.begin() as conn:
            checkpoints.prepare(conn)
            stored = checkpoints.take_over(
                conn, self.around.database.clock_for(conn), self.around.store_id, self.lease
            )
        self._elsewhere, self._saved = database, stored
        return stored

    def add_children(self, conn: Connection, children: Sequence[NewChild]) -> None:
        """Submit children in the transaction of a save."""
        if self._elsewhere is not None:
            raise PayloadInvalid(
                f"{self.definition.kind} keeps its checkpoint in another database: children are "
                "submitted together with a checkpoint in the store, or not at all"
            )
        trace, largest = self.carried_job().trace, self.around.largest_args

        def requests(owner: str | None) -> list[JobRequest]:
            made = []
            for each in children:
                options = each.options
                if owner is not None and options.get("owner") is None:
                    options = {**options, "owner": owner}
                made.append(request(each.definition, each.args, options, largest=largest))
            return [replace(each, trace=trace) for each in made]

        family.add(conn, self.around.database.clock, self.lease, requests)

    def count_children(self) -> tuple[int, int]:
        """How many children have not ended, and how many have failed or were cancelled."""
        with self.around.database.read() as conn:
            return families.counts(conn, self.lease.job_id)

    def read_children(self, kind: str, *, after: JobId, limit: int) -> list[ChildRow]:
        """Read a page of the children of a kind."""
        with self.around.database.read() as conn:
            return families.results(conn, self.lease.job_id, kind, after=after, limit=limit)

    def report(self, progress: Progress) -> None:
        """Note the progress; the worker writes it a few times a second."""
        self.heard_at = time.monotonic()
        self.around.notes.progress(self.lease, progress)

    def log(self, level: int, message: str) -> None:
        """Keep a line of the job's log, and hand it to the program's own log."""
        name = logging.getLevelName(level).lower()
        self.around.notes.line(LogLine(self.lease, datetime.now(UTC), name, message))
        # The handler may log from a thread of its own, which knows of no job.
        with within(self.scope):
            logger.log(level, "%s", message, extra=self.scope.known())

    async def on_thread(self, work: Callable[[], R]) -> R:
        """Run blocking work for a coroutine, on the handlers' store threads."""
        return await self.around.database.on_thread(work)


def _interrupted(lost: StoreUnavailable) -> JobInterrupted:
    return JobInterrupted(f"the save did not go through: {lost}")
