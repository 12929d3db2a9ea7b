"""Which attempt the code that runs just now belongs to: what every line of a log says."""

from contextvars import ContextVar
from typing import Final, NamedTuple

from milepost.jobs.leases import ClaimedJob, JobId, Lease


class Scope(NamedTuple):
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
            return self._replace(kind=kind, queue=queue)
        return Scope(lease.job_id, lease.attempt, kind, queue, self.worker)

    def known(self) -> dict[str, str | int]:
        """What is known, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}


NOWHERE: Final = Scope()
# Tasks, and threads by asyncio.to_thread, inherit it; a thread that a handler starts itself does
# not.
_scope: Final = ContextVar("milepost_scope", default=NOWHERE)


def scope() -> Scope:
    """What the running code belongs to."""
    return _scope.get()


class within:  # noqa: N801 (called as a function is)
    """Let the code of the block belong to a scope."""

    # No generator: each attempt and each event has one.
    __slots__ = ("_before", "_inner")

    def __init__(self, inner: Scope) -> None:
        self._inner = inner

    def __enter__(self) -> None:
        self._before = _scope.set(self._inner)

    def __exit__(self, *_: object) -> None:
        _scope.reset(self._before)
