"""An application as the tests need it: quick leases and graces, and its events to read."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol, TypedDict, TypeVar, Unpack

import svcs

from milepost import JobDefinition, JobHandle, Milepost, Settings, WorkerSettings
from milepost.jobs.events import Event
from milepost.worker import Worker

E = TypeVar("E", bound=Event)


class Overrides(TypedDict, total=False):
    """Worker settings that differ from the quick ones."""

    queues: tuple[str, ...]
    concurrency: int
    queue_concurrency: tuple[tuple[str, int], ...]
    lease_for: timedelta
    poll_every: timedelta
    stop_grace: timedelta
    cancel_grace: timedelta
    blocked_after: timedelta
    most_rescues: int
    misfits_for: timedelta


QUICK: Overrides = {
    "lease_for": timedelta(seconds=1),
    "cancel_grace": timedelta(seconds=0.1),
    "stop_grace": timedelta(seconds=0.5),
}


def quick(**overrides: Unpack[Overrides]) -> WorkerSettings:
    return replace(WorkerSettings(**QUICK), **overrides)


class App(Milepost):
    """Milepost, with all its workers' events in a list."""

    def __init__(
        self,
        definitions: Sequence[JobDefinition[Any, Any, Any]],
        url: str,
        *,
        services: svcs.Registry | None = None,
        **overrides: Unpack[Overrides],
    ) -> None:
        self.events: list[Event] = []
        super().__init__(
            definitions,
            settings=Settings(database_url=url, worker=quick(**overrides)),
            services=services,
            observers=[self.events.append],
        )

    def happened(self, kind: type[E]) -> list[E]:
        """The events of a type so far."""
        return [event for event in list(self.events) if isinstance(event, kind)]

    def quick_worker(self, **overrides: Unpack[Overrides]) -> Worker:
        """A worker with other settings than the application's."""
        return self.worker(
            Settings(database_url=self.settings.database_url, worker=quick(**overrides))
        )

    def again(self, handle: JobHandle[Any]) -> JobHandle[Any]:
        """A second caller's hold on the same job."""
        return self.handle(handle.job_id)


class OpenApp(Protocol):
    """Opens applications on the test's store; they are closed at its end."""

    async def __call__(
        self,
        *definitions: JobDefinition[Any, Any, Any],
        services: svcs.Registry | None = None,
        **overrides: Unpack[Overrides],
    ) -> App: ...
