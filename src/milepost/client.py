"""Jobs from afar: submits and steers them over HTTP, typed as on the store itself."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, Unpack
from uuid import uuid4

import aiohttp
from pydantic import TypeAdapter

from milepost.errors import JobFailed, JobWasCancelled, MilepostError
from milepost.jobs.definition import JobDefinition
from milepost.jobs.leases import JobId
from milepost.jobs.requests import SubmitOptions
from milepost.jobs.states import FINAL, JobState

A = TypeVar("A")
C = TypeVar("C")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

TRIES: Final = 5
WAIT: Final = 0.2
LONGEST_WAIT: Final = 5.0
ANSWER_WITHIN: Final = 90.0
# A stream that is silent for longer than its pings has been cut.
SILENCE: Final = 45.0


class ApiError(MilepostError):
    """The API refused a request; the message is its sentence."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title


class ApiAway(MilepostError):
    """The API did not answer, several times in a row."""


@dataclass(frozen=True, slots=True)
class RemoteProgress:
    """How far a job is. `rate` is in counts a second, `remaining` a range in seconds."""

    count: int
    total: int | None
    percentage: float | None
    message: str | None
    rate: float | None
    remaining: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteView:
    """One job as it stands; `args`, `checkpoint` and `result` are plain JSON values."""

    id: JobId
    kind: str
    queue: str
    state: JobState
    priority: int
    progress: RemoteProgress | None
    error: str | None
    attempt: int
    failures: int
    max_attempts: int
    unique_key: str | None
    tags: tuple[str, ...]
    owner: str | None
    created_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    cancel_reason: str | None
    checkpoint: Any = None
    args: Any = None
    result: Any = None


@dataclass(frozen=True, slots=True)
class RemoteCancellation:
    """What became of a request to cancel; `told` says it in a sentence."""

    id: JobId
    state: JobState
    cancelled: bool
    finished_first: bool
    told: str


_VIEW: Final = TypeAdapter(RemoteView)
_CANCELLATION: Final = TypeAdapter(RemoteCancellation)


class Client:
    """The API at an address, such as http://localhost:8080; `async with` it, or close it."""

    def __init__(self, url: str, *, token: str | None = None) -> None:
        self._url = f"{url.rstrip('/')}/api/v1"
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    async def submit(
        self, definition: JobDefinition[A, C, R], args: A, **options: Unpack[SubmitOptions]
    ) -> "RemoteJob[R]":
        """Submit a job, once, also where the answer gets lost and it is sent again.

        Raises PayloadInvalid before anything is sent, ApiError or ApiAway.
        """
        body = {"kind": definition.kind, "args": json.loads(definition.args.dump(args))}
        reply = await self._ask(
            "POST", "/jobs", body | _spelled(options), headers={"Idempotency-Key": str(uuid4())}
        )
        return RemoteJob(self, reply["id"], definition, existed=reply["existed"])

    def job(
        self, job_id: JobId, definition: JobDefinition[Any, Any, R] | None = None
    ) -> "RemoteJob[R]":
        """Take hold of a job; its definition gives the result its type."""
        return RemoteJob(self, job_id, definition)

    async def _ask(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Ask, again where that is safe. Raises ApiError or ApiAway."""
        may_repeat = method == "GET" or headers is not None
        for attempt in range(1, TRIES + 1):
            try:
                async with self._opened().request(
                    method, self._url + path, json=body, headers=headers
                ) as reply:
                    if reply.ok:
                        return await reply.json()
                    error = await _error(reply)
                    if reply.status < 500 or not may_repeat or attempt == TRIES:  # noqa: PLR2004
                        raise error
            except (aiohttp.ClientConnectionError, TimeoutError) as lost:
                if not may_repeat or attempt == TRIES:
                    raise ApiAway(f"{self._url} does not answer: {lost}") from lost
            await asyncio.sleep(min(LONGEST_WAIT, WAIT * 2**attempt))
        raise AssertionError("the last try returns or raises")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN)
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self._session

    async def aclose(self) -> None:
        """Close the connections; safe to call twice."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        await self.aclose()


class RemoteJob(Generic[R_co]):
    """One job behind an API. Holds no state of its own: each call asks."""

    def __init__(
        self,
        client: Client,
        job_id: JobId,
        definition: JobDefinition[Any, Any, R_co] | None,
        *,
        existed: bool = False,
    ) -> None:
        self.job_id = job_id
        self.existed = existed
        self._client = client
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
            await asyncio.sleep(min(LONGEST_WAIT, WAIT * 2**tries))

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
        url = f"{self._client._url}/jobs/{self.job_id}/events"  # noqa: SLF001 (its other half)
        async with self._client._opened().get(url, timeout=timeout) as reply:  # noqa: SLF001
            if not reply.ok:
                raise await _error(reply)
            name = ""
            async for raw in reply.content:
                field, _, value = raw.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, value

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        return await self._client._ask(  # noqa: SLF001
            method, f"/jobs/{self.job_id}{path}", body
        )


def _spelled(options: SubmitOptions) -> dict[str, Any]:
    spelled: dict[str, Any] = {}
    for name, value in options.items():
        match value:
            case timedelta():
                spelled[name] = value.total_seconds()
            case datetime():
                spelled[name] = value.isoformat()
            case str() | int() | None:
                spelled[name] = value
            case Sequence():
                spelled[name] = [getattr(each, "job_id", each) for each in value]
            case _:
                raise TypeError(f"{name} cannot be given over HTTP: {value!r}")
    return spelled


async def _error(reply: aiohttp.ClientResponse) -> ApiError:
    try:
        told = json.loads(await reply.text())
        return ApiError(reply.status, told["title"], told["detail"])
    except (ValueError, KeyError, TypeError):
        # Something between us and the API.
        return ApiError(reply.status, reply.reason or "", f"{reply.url}: {reply.status}")
