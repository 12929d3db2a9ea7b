"""Errors as RFC 9457 problem details."""

import logging
from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from milepost.errors import (
    ConfigurationError,
    ConnectorError,
    JobEnded,
    JobNotFound,
    JobNotRetryable,
    MilepostError,
    PayloadInvalid,
    PayloadTooLarge,
    QueueFull,
    SecretKeyUnfit,
    SnapshotError,
    StoreError,
    UniqueKeyTaken,
    UnknownKind,
)

logger = logging.getLogger("milepost.web")

MEDIA_TYPE: Final = "application/problem+json"

_STATUS: Final[tuple[tuple[type[MilepostError], int, str], ...]] = (
    (JobNotFound, 404, "No such job"),
    (UnknownKind, 422, "No such kind of job"),
    (PayloadTooLarge, 413, "Args are too large"),
    (QueueFull, 503, "The queue is full"),
    (PayloadInvalid, 422, "Args do not fit"),
    (JobNotRetryable, 409, "Job cannot be retried"),
    (JobEnded, 409, "Job has ended"),
    (UniqueKeyTaken, 409, "Unique key is taken"),
    (StoreError, 503, "The store is away"),
    (ConnectorError, 502, "The source does not answer as it should"),
    (SnapshotError, 409, "Snapshot cannot be read"),
    (SecretKeyUnfit, 409, "Key is not fit"),
    (ConfigurationError, 422, "Not as it was asked for"),
)


# What the router says in one word.
_UNMATCHED: Final = {404: "there is nothing at {path}", 405: "{method} does nothing at {path}"}


class Problem(BaseModel):
    """What went wrong, in words for a person; `status` is the HTTP status."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[dict[str, Any]] | None = None


class Refused(Exception):
    """A request that is refused, with its status and the reason."""

    def __init__(
        self, status: int, title: str, detail: str, *, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(title=title, status=status, detail=detail)
        self.headers = headers


def reply(problem: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    """Make the reply that tells of a problem."""
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        status_code=problem.status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


def of(error: MilepostError) -> Problem:
    """Say an error of ours as a problem."""
    for kind, status, title in _STATUS:
        if isinstance(error, kind):
            return Problem(title=title, status=status, detail=str(error))
    return Problem(title=type(error).__name__, status=500, detail=str(error))


Shower = Callable[[Request, Problem], Response | None]


def install(app: FastAPI, show: Shower) -> None:
    """Let an application answer errors with problems; `show` makes a page of one for people."""

    def answer(request: Request, problem: Problem, headers: Any = None) -> Response:
        shown = show(request, problem)
        if shown is None:
            return reply(problem, headers)
        shown.headers.update(headers or {})
        return shown

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, MilepostError)  # noqa: S101 (that is what it is installed for)
        headers = None
        if isinstance(error, QueueFull):
            headers = {"Retry-After": f"{error.retry_after.total_seconds():.0f}"}
        return answer(request, of(error), headers)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)  # noqa: S101
        return answer(request, error.problem, error.headers)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        detail = str(error.detail)
        if error.status_code in _UNMATCHED:
            detail = _UNMATCHED[error.status_code].format(
                method=request.method, path=request.url.path
            )
        problem = Problem(title=str(error.detail), status=error.status_code, detail=detail)
        return answer(request, problem, dict(error.headers) if error.headers else None)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        errors = [
            {
                "where": ".".join(map(str, each["loc"])),
                "what": each["msg"].removeprefix("Value error, "),
            }
            for each in error.errors()
        ]
        told = "; ".join(f"{each['where']}: {each['what']}" for each in errors)
        problem = Problem(title="Request does not fit", status=422, detail=told, errors=errors)
        return answer(request, problem)

    async def unexpected(request: Request, error: Exception) -> Response:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        problem = Problem(
            title="Unexpected error", status=500, detail="the log of the web process says more"
        )
        return answer(request, problem)

    app.add_exception_handler(MilepostError, ours)
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unexpected)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe problem replies for the OpenAPI document."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": "Problem", "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }
