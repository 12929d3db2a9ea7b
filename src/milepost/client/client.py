"""The API at an address."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack
from urllib.parse import quote
from uuid import uuid4

from pydantic import TypeAdapter

from milepost.client.api import Api
from milepost.client.jobs import RemoteJob
from milepost.client.views import RemoteConnection
from milepost.connectors import Source, dump_source
from milepost.jobs.definition import JobDefinition
from milepost.jobs.leases import JobId
from milepost.jobs.requests import SubmitOptions

A = TypeVar("A")
C = TypeVar("C")
R = TypeVar("R")

_CONNECTION: Final = TypeAdapter(RemoteConnection)
_STORED: Final = "/connections"


class Client:
    """The API at an address, such as http://localhost:8080; `async with` it, or close it.

    What the API refuses is an ApiError with its sentence; an API that does not answer, ApiAway.
    """

    def __init__(self, url: str, *, token: str | None = None) -> None:
        self._api = Api(url, token)

    async def submit(
        self, definition: JobDefinition[A, C, R], args: A, **options: Unpack[SubmitOptions]
    ) -> RemoteJob[R]:
        """Submit a job, once, also where the answer gets lost and it is sent again.

        Raises PayloadInvalid before anything is sent.
        """
        body = {"kind": definition.kind, "args": json.loads(definition.args.dump(args))}
        reply = await self._api.ask(
            "POST", "/jobs", body | _spelled(options), repeat=True,
            headers={"Idempotency-Key": str(uuid4())},
        )  # fmt: skip
        return RemoteJob(self._api, reply["id"], definition, existed=reply["existed"])

    def job(
        self, job_id: JobId, definition: JobDefinition[Any, Any, R] | None = None
    ) -> RemoteJob[R]:
        """Take hold of a job; its definition gives the result its type."""
        return RemoteJob(self._api, job_id, definition)

    async def pause(self, queue: str) -> None:
        """Let no job of a queue begin; what runs goes on."""
        await self._api.ask("POST", f"/queues/{quote(queue, safe='')}/pause", repeat=True)

    async def resume(self, queue: str) -> None:
        """Let the jobs of a queue begin again."""
        await self._api.ask("POST", f"/queues/{quote(queue, safe='')}/resume", repeat=True)

    async def connections(self) -> list[RemoteConnection]:
        """Read the stored connections, without what they keep secret."""
        return [_CONNECTION.validate_python(each) for each in await self._api.ask("GET", _STORED)]

    async def add_connection(
        self, name: str, source: Source, credentials: Mapping[str, str] | None = None
    ) -> RemoteConnection:
        """Store a source under a free name. `credentials` are the values behind its `$NAME`s."""
        body = {"name": name, **_described(source, credentials)}
        return _CONNECTION.validate_python(await self._api.ask("POST", _STORED, body))

    async def replace_connection(
        self, name: str, source: Source, credentials: Mapping[str, str] | None = None
    ) -> RemoteConnection:
        """Put another source in the place of one; the credentials before are forgotten."""
        reply = await self._api.ask(
            "PUT", f"{_STORED}/{quote(name, safe='')}", _described(source, credentials), repeat=True
        )
        return _CONNECTION.validate_python(reply)

    async def forget_connection(self, name: str) -> None:
        """Forget a connection and its credentials."""
        await self._api.ask("DELETE", f"{_STORED}/{quote(name, safe='')}")

    async def aclose(self) -> None:
        """Close the connections to the API; safe to call twice."""
        await self._api.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        await self.aclose()


def _described(source: Source, credentials: Mapping[str, str] | None) -> dict[str, Any]:
    return {"source": dump_source(source), "credentials": dict(credentials or {})}


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
