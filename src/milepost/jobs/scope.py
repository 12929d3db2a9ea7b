"""Which attempt the code that runs just now belongs to: what every line of a log says."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from typing import Final

from milepost.jobs.leases import ClaimedJob, JobId, Lease


@dataclass(frozen=True, slots=True)
class Scope:
    """A worker, and one attempt of it; what is not known is None."""

    job_id: JobId | None = None
    attempt: int | None = None
    kind: str | None = None
    queue: str | None = None
    worker: str | None = None

    @classmethod
    def of(cls, job: ClaimedJob, worker: str | None) -> "Scope":
        """The scope of a handler."""
        return cls(job.lease.job_id, job.lease.attempt, job.kind, job.queue, worker)

    def about(
        self, lease: Lease | None = None, kind: str | None = None, queue: str | None = None
    ) -> "Scope":
        """The same worker, and an attempt that a line is about."""
        if lease is None:
            return replace(self, kind=kind, queue=queue)
        return Scope(lease.job_id, lease.attempt, kind, queue, self.worker)

    def known(self) -> dict[str, str | int]:
        """What is known, by name."""
        found = ((each.name, getattr(self, each.name)) for each in fields(self))
        return {name: value for name, value in found if value is not None}


NOWHERE: Final = Scope()
# Tasks, and threads by asyncio.to_thread, inherit it; a thread that a handler starts itself does
# not.
_scope: Final = ContextVar("milepost_scope", default=NOWHERE)


def scope() -> Scope:
    """What the running code belongs to."""
    return _scope.get()


@contextmanager
def within(inner: Scope) -> Iterator[None]:
    """Let the code of the block belong to a scope."""
    before = _scope.set(inner)
    try:
        yield
    finally:
        _scope.reset(before)
