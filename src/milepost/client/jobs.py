"""One job behind an API."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar

import aiohttp
from pydantic import TypeAdapter

from milepost.client.api import ANSWER_WITHIN, TRIES, Api, ApiAway, error_of, pause
from milepost.client.views import RemoteCancellation, RemoteView
from milepost.errors import JobFailed, JobWasCancelled
from milepost.jobs.definition import JobDefinition
from milepost.jobs.leases import JobId
from milepost.jobs.states import FINAL, JobState

R_co = TypeVar("R_co", covariant=True)

# A stream that is silent for longer than its pings has been cut.
SILENCE: Final = 45.0

_VIEW: Final = TypeAdapter(RemoteView)
_CANCELLATION: Final = TypeAdapter(RemoteCancellation)


class RemoteJob(Generic[R_co]):
    """One job behind an API. Holds no state of its own: each call asks."""

    def __init__(
        self,
        api: Api,
        job_id: JobId,
        definition: JobDefinition[Any, Any, R_co] | None,
        *,
        existed: bool = False,
    ) -> None:
        self.job_id = job_id
        self.existed = existed
        self._api = api
        self._definition = definition

    def __repr__(self) -> str:
        return f"<RemoteJob {self.job_id}>"

    async def view(self) -> RemoteView:
        """Ask how the job stands. Raises ApiError or ApiAway."""
        return _VIEW.validate_python(await self._ask("GET", ""))

    async def cancel(
        self, reason: str | None = None, *, wait: timedelta = timedelta(seconds=30)
    ) -> RemoteCancellation:
        """Ask the job to stop, and wait a while, at most a minute, for what becomes of it."""
        body = {"reason": reason, "wait": min(60.0, wait.total_seconds())}
        return _CANCELLATION.validate_python(await self._ask("POST", "/cancel", body))

    async def retry(self) -> None:
        """Send a failed or cancelled job back to available. Raises ApiError."""
        await self._ask("POST", "/retry")

    async def reprioritise(self, priority: int) -> None:
        """Give a job that has not ended another place in line; 0 runs first. Raises ApiError."""
        await self._ask("PATCH", "", {"priority": priority})

    async def watch(self) -> AsyncGenerator[RemoteView, None]:
        """Give the job now, and again when it changes, until it is final.

        What was missed while the connection was cut is not lost: the newest state comes first.
        Raises ApiError, or ApiAway after several tries in a row.
        """
        tries = 0
        while True:
            try:
                async with aclosing(self._events()) as events:
                    async for name, data in events:
                        tries = 0
                        if name == "job":
                            view = _VIEW.validate_json(data)
                            yield view
                            if view.state in FINAL:
                                return
            except (aiohttp.ClientError, TimeoutError) as lost:
                tries += 1
                if tries == TRIES:
                    raise ApiAway(f"the events of job {self.job_id} do not come: {lost}") from lost
            await pause(tries)

    async def result(self, timeout: timedelta | None = None) -> R_co:
        """Wait for the result. Raises JobFailed, JobWasCancelled, or TimeoutError."""
        async with asyncio.timeout(None if timeout is None else timeout.total_seconds()):
            async with aclosing(self.watch()) as views:
                async for _ in views:
                    pass
        view = await self.view()
        if view.state is JobState.FAILED:
            raise JobFailed(self.job_id, view.error or "no reason is known")
        if view.state is JobState.CANCELLED:
            raise JobWasCancelled(self.job_id, view.cancel_reason)
        if self._definition is None:
            raise TypeError(
                f"job {self.job_id} is of kind {view.kind!r}, whose definition was not given; "
                "view() has the result as JSON"
            )
        return self._definition.result.load(json.dumps(view.result))

    async def _events(self) -> AsyncGenerator[tuple[str, str], None]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_WITHIN, sock_read=SILENCE)
        url = f"{self._api.url}/jobs/{self.job_id}/events"
        async with self._api.session().get(url, timeout=timeout) as reply:
            if not reply.ok:
                raise await error_of(reply)
            name = ""
            async for raw in reply.content:
                field, _, value = raw.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, value

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        return await self._api.ask(method, f"/jobs/{self.job_id}{path}", body)
