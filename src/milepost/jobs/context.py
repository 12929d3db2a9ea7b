"""What a handler holds of its attempt: the checkpoint, progress, stop requests, the log."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, TypeVarTuple

from milepost.errors import PayloadInvalid, WaitsForChildren
from milepost.jobs.flows import PAGE, Child, ChildRow
from milepost.jobs.leases import JobId, Lease
from milepost.jobs.outcomes import OnFailure
from milepost.jobs.payloads import Payload
from milepost.jobs.progress import Part, Progress
from milepost.jobs.tokens import CancelToken
from milepost.jobs.tracing import Fact, Span

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from milepost.jobs.definition import JobDefinition
    from milepost.jobs.requests import NewChild

A = TypeVar("A")
C = TypeVar("C")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class Transactions(Protocol):
    """A database that can begin a transaction: `milepost.Database`."""

    def begin(self) -> AbstractContextManager["Connection"]:
        """Begin a transaction; it commits at the end of the block, or rolls back."""
        ...


class AttemptLink(Protocol):
    """What a context needs of whoever runs the attempt. Called from the handler's thread."""

    @property
    def lease(self) -> Lease:
        """The attempt."""
        ...

    @property
    def scheduled_for(self) -> datetime | None:
        """The moment of its schedule that its job is for."""
        ...

    @property
    def token(self) -> CancelToken:
        """Its stop request."""
        ...

    def commit(
        self,
        checkpoint: str,
        write: Callable[["Connection"], object] | None,
        progress: Progress | None,
    ) -> None:
        """Commit the write and the checkpoint, or neither; then raise a stop that is due."""
        ...

    def take_over(self, database: Transactions) -> str | None:
        """Keep the checkpoint in another database from now on; returns the one that is there."""
        ...

    def add_children(self, conn: "Connection", children: Sequence["NewChild"]) -> None:
        """Submit jobs that this one may wait for, in the transaction of a save."""
        ...

    def count_children(self) -> tuple[int, int]:
        """How many children have not ended, and how many have failed or were cancelled."""
        ...

    def read_children(self, kind: str, *, after: JobId, limit: int) -> list[ChildRow]:
        """Read a page of the children of a kind, in the order of their ids."""
        ...

    def report(self, progress: Progress) -> None:
        """Note the progress; it is written a few times a second at most."""
        ...

    def log(self, level: int, message: str) -> None:
        """Keep a line of the job's log."""
        ...

    def span(self, name: str, facts: Mapping[str, Fact]) -> AbstractContextManager[Span]:
        """Let a block be a span of the job's trace, where traces are kept."""
        ...

    async def on_thread(self, work: Callable[[], R]) -> R:
        """Run blocking work for a coroutine; a cancelled wait still waits for its end."""
        ...


class JobLog:
    """The job's own log: kept with the job, shown by `milepost jobs logs`."""

    def __init__(self, link: AttemptLink) -> None:
        self._link = link

    def debug(self, message: str, *values: object) -> None:
        """Log a detail; `values` fill the message's % places."""
        self._write(logging.DEBUG, message, values)

    def info(self, message: str, *values: object) -> None:
        """Log what happened."""
        self._write(logging.INFO, message, values)

    def warning(self, message: str, *values: object) -> None:
        """Log what is odd but does not stop the job."""
        self._write(logging.WARNING, message, values)

    def error(self, message: str, *values: object) -> None:
        """Log what went wrong."""
        self._write(logging.ERROR, message, values)

    def _write(self, level: int, message: str, values: tuple[object, ...]) -> None:
        self._link.log(level, str(message) % values if values else str(message))


class InputsInvalid(PayloadInvalid):
    """What the store holds of a job does not fit its definition: a newer program's, perhaps."""


class _Context(Generic[C]):
    """What both contexts share: everything that does not wait for a database."""

    def __init__(self, link: AttemptLink, payload: Payload[C], checkpoint: C) -> None:
        self._link = link
        self._payload = payload
        self.checkpoint = checkpoint

    @property
    def log(self) -> JobLog:
        """The job's own log."""
        return JobLog(self._link)

    @property
    def job_id(self) -> int:
        """The job's id in its store."""
        return self._link.lease.job_id

    @property
    def attempt(self) -> int:
        """The attempt's number; it only goes up."""
        return self._link.lease.attempt

    @property
    def scheduled_for(self) -> datetime | None:
        """The moment that its schedule meant, in UTC; None where no schedule submitted the job.

        The job may run later, and after an outage much later: what is for a day or an hour goes
        by this, not by the clock.
        """
        return self._link.scheduled_for

    @property
    def cancel(self) -> CancelToken:
        """The request to stop for good."""
        return self._link.token

    @property
    def stopping(self) -> bool:
        """Whether the worker is stopping: save and return, the job goes on elsewhere."""
        return self._link.token.stopping

    def progress(
        self,
        count: int,
        total: int | None = None,
        message: str | None = None,
        *,
        parts: Mapping[str, Part] | None = None,
    ) -> None:
        """Say how far the job is. Cheap: written and announced a few times a second at most."""
        self._link.report(Progress(count, total, message, parts or {}))

    def _wait_unless_ended(self, counted: tuple[int, int], on_failure: OnFailure) -> None:
        pending, lost = counted
        if pending or (lost and on_failure != "go-on"):
            raise WaitsForChildren(on_failure)

    def _page(self, definition: "JobDefinition[A, Any, R]", after: JobId) -> list[Child[A, R]]:
        found = self._link.read_children(definition.kind, after=after, limit=PAGE)
        return [Child(definition, row) for row in found]

    def _work(
        self,
        write: Callable[..., object] | None,
        args: tuple[Any, ...],
        children: Sequence["NewChild"],
    ) -> Callable[["Connection"], object] | None:
        written = _bound(write, args)
        if not children:
            return written

        def work(conn: "Connection") -> None:
            if written is not None:
                written(conn)
            self._link.add_children(conn, children)

        return work

    def span(self, name: str, **facts: Fact) -> AbstractContextManager[Span]:
        """Let a block be a span of the job's trace, with what it says; nothing without traces."""
        return self._link.span(name, facts)

    def _loaded(self, stored: str | None) -> C:
        return load_checkpoint(self._payload, stored)


class JobContext(_Context[C]):
    """The context of an `async def` handler."""

    async def save(
        self,
        checkpoint: C,
        write: Callable[["Connection", *Ts], object] | None = None,
        *args: *Ts,
        progress: Progress | None = None,
        children: Sequence["NewChild"] = (),
    ) -> None:
        """Commit `write(conn, *args)`, the checkpoint and `children` together, or nothing.

        Raises LeaseLost, and then nothing is committed, where another attempt has the job.
        Raises JobCancelled, LimitExceeded or JobInterrupted after the commit where the attempt
        is to stop: this is the safe place. JobInterrupted also where the connection broke
        and the commit does not stand: the job goes on from its last checkpoint, at no cost.
        """
        stored = self._payload.dump(checkpoint)
        work = self._work(write, args, children)
        await self._link.on_thread(lambda: self._link.commit(stored, work, progress))
        self.checkpoint = checkpoint

    async def wait_for_children(self, *, on_failure: OnFailure = "fail") -> None:
        """Return if all children have ended; else let go of the worker until they have.

        Then the handler begins again at its last checkpoint, and comes to this line again. Where a
        child fails or is cancelled this job fails, unless told to go on.
        """
        counted = await self._link.on_thread(self._link.count_children)
        self._wait_unless_ended(counted, on_failure)

    async def children(self, definition: "JobDefinition[A, Any, R]") -> AsyncIterator[Child[A, R]]:
        """Read the jobs of a kind that this one has waited for, in the order of their ids.

        A page at a time, so that any number of them fits into memory.
        """
        after: JobId = 0
        while page := await self._link.on_thread(lambda: self._page(definition, after)):  # noqa: B023
            for each in page:
                yield each
            after = page[-1].job_id

    async def keep_checkpoint_in(self, database: Transactions) -> None:
        """Keep the checkpoint in the database that holds the data, when it is not the store.

        Call it before reading `checkpoint`. It takes the job over there, so that an older
        attempt's later writes roll back.
        """
        stored = await self._link.on_thread(lambda: self._link.take_over(database))
        self.checkpoint = self._loaded(stored)


class SyncJobContext(_Context[C]):
    """The context of a `def` handler: the same, and its waits block."""

    def save(
        self,
        checkpoint: C,
        write: Callable[["Connection", *Ts], object] | None = None,
        *args: *Ts,
        progress: Progress | None = None,
        children: Sequence["NewChild"] = (),
    ) -> None:
        """Commit `write(conn, *args)` and the checkpoint together; see `JobContext.save`."""
        work = self._work(write, args, children)
        self._link.commit(self._payload.dump(checkpoint), work, progress)
        self.checkpoint = checkpoint

    def wait_for_children(self, *, on_failure: OnFailure = "fail") -> None:
        """Return if all children have ended; see `JobContext.wait_for_children`."""
        self._wait_unless_ended(self._link.count_children(), on_failure)

    def children(self, definition: "JobDefinition[A, Any, R]") -> Iterator[Child[A, R]]:
        """Read the jobs of a kind that this one has waited for; see `JobContext.children`."""
        after: JobId = 0
        while page := self._page(definition, after):
            yield from page
            after = page[-1].job_id

    def keep_checkpoint_in(self, database: Transactions) -> None:
        """Keep the checkpoint with the data; see `JobContext.keep_checkpoint_in`."""
        self.checkpoint = self._loaded(self._link.take_over(database))


def load_checkpoint(payload: Payload[C], stored: str | None) -> C:
    """Read what the last attempt saved, or begin. Raises InputsInvalid."""
    if stored is None:
        return payload.initial()
    try:
        return payload.load(stored, exact=True)
    except PayloadInvalid as error:
        raise InputsInvalid(str(error)) from None


def _bound(
    write: Callable[..., object] | None, args: tuple[Any, ...]
) -> Callable[["Connection"], object] | None:
    if write is None:
        return None

    def work(conn: "Connection") -> None:
        returned = write(conn, *args)
        if hasattr(returned, "__await__"):
            # An unawaited coroutine would commit the checkpoint without the data.
            returned.close() if hasattr(returned, "close") else None
            raise TypeError(
                f"{write!r} is async; save takes a plain function, whose connection is synchronous"
            )

    return work
