"""Submitting over HTTP: sent again with its key, a request is the same job."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from milepost.access import Caller
from milepost.app import Milepost
from milepost.errors import PayloadInvalid
from milepost.handles import JobHandle
from milepost.jobs.leases import JobId
from milepost.jobs.outcomes import OnFailure
from milepost.jobs.requests import SubmitOptions
from milepost.jobs.states import JobState
from milepost.store import idempotency, jobs
from milepost.web.api.fields import Body, Name, Priority, QueueName, Seconds
from milepost.web.dependencies import App, JobNumber, own_job
from milepost.web.guard import Operator
from milepost.web.problems import Refused, documented

router = APIRouter(tags=["jobs"], responses=documented(401, 403, 422, 503))


class Submission(Body):
    """A job to be run. What is not given comes from its definition."""

    kind: Name
    args: Any = Field(description="as the definition of the kind says")
    queue: QueueName | None = None
    priority: Priority | None = None
    delay: Seconds | None = Field(None, description="seconds from now")
    run_at: datetime | None = Field(None, description="with a time zone; not together with delay")
    max_attempts: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    time_limit: Seconds | None = Field(None, description="seconds")
    unique_key: Name | None = Field(
        None, description="while an unfinished job has it, that job is the answer"
    )
    tags: Annotated[Sequence[Name], Field(max_length=50)] = ()
    owner: Name | None = None
    after: Annotated[Sequence[JobNumber], Field(max_length=10_000)] = Field(
        (), description="jobs that must have ended before it begins"
    )
    on_failure: OnFailure | None = Field(
        None, description="where one of those fails: fail, cancel the others too, or go on"
    )


class Submitted(BaseModel):
    """The job there is now. `existed`: it was there already, by its key."""

    id: int
    state: JobState
    existed: bool


@router.post(
    "/jobs",
    status_code=201,
    responses={
        200: {"model": Submitted, "description": "There was such a job already"},
        **documented(400, 404, 409, 413),
    },
)
async def submit(
    order: Submission,
    request: Request,
    response: Response,
    milepost: App,
    caller: Operator,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> Submitted:
    """Submit a job. With an Idempotency-Key, sending it again within a day submits nothing more."""
    if caller.owner is not None and order.owner not in (None, caller.owner):
        raise Refused(403, "Not allowed", f"{caller.name!r} submits for {caller.owner!r} alone")
    if order.run_at is not None and order.run_at.tzinfo is None:
        raise PayloadInvalid("run_at needs a time zone, such as 2026-05-06T07:08:09Z")
    for each in order.after if caller.owner is not None else ():
        await own_job(milepost, caller, each)
    options = _options(order, caller)
    args = json.dumps(order.args)
    key = idempotency_key and _scoped(caller, idempotency_key)
    asked = hashlib.sha256(order.model_dump_json().encode()).hexdigest()
    if key and (before := await _before(milepost, key, asked)):
        response.status_code = 200
        return await _submitted(request, response, milepost, before, existed=True)
    with milepost.continued(request.headers):
        handle = await _submit(milepost, order.kind, args, options, key, asked)
    if handle.existed:
        response.status_code = 200
    return await _submitted(request, response, milepost, handle.job_id, existed=handle.existed)


def _options(order: Submission, caller: Caller) -> SubmitOptions:
    given: dict[str, Any] = {
        "queue": order.queue,
        "priority": order.priority,
        "delay": None if order.delay is None else timedelta(seconds=order.delay),
        "run_at": order.run_at,
        "max_attempts": order.max_attempts,
        "time_limit": None if order.time_limit is None else timedelta(seconds=order.time_limit),
        "unique_key": order.unique_key,
        "owner": caller.owner or order.owner,
        "on_failure": order.on_failure,
    }
    options: Any = {name: value for name, value in given.items() if value is not None}
    if order.after:
        options["after"] = order.after
    if order.tags:
        options["tags"] = order.tags
    chosen: SubmitOptions = options
    return chosen


def _scoped(caller: Caller, key: str) -> str:
    # Two owners may choose the same key.
    return json.dumps([caller.owner, key])


async def _before(milepost: Milepost, key: str, asked: str) -> JobId | None:
    found = await milepost.database.query(idempotency.find, milepost.database.clock, key)
    if found is None:
        return None
    request_hash, job_id = found
    if request_hash != asked:
        raise Refused(
            422, "Idempotency-Key was used",
            f"this key came with another request before, which became job {job_id}",
        )  # fmt: skip
    return job_id


async def _submit(
    milepost: Milepost, kind: str, args: str, options: SubmitOptions, key: str | None, asked: str
) -> JobHandle[Any]:
    if key is None:
        return await milepost.submit_json(kind, args, **options)
    definition = milepost.registry[kind]
    typed = definition.args.load(definition.args.parse(args))

    def store(conn: Connection) -> JobHandle[Any]:
        handle = milepost.submit_in(conn, definition, typed, **options)
        idempotency.add(conn, milepost.database.clock, key, asked, handle.job_id)
        return handle

    try:
        handle = await milepost.database.run(store)
    except IntegrityError:
        # The same request came twice at once, and the other one was first.
        before = await _before(milepost, key, asked)
        if before is None:
            raise
        handle = milepost.handle(before)
        handle.existed = True
        return handle
    return handle


async def _submitted(
    request: Request, response: Response, milepost: Milepost, job_id: JobId, *, existed: bool
) -> Submitted:
    response.headers["Location"] = str(request.url_for("show", job_id=job_id).path)
    state = await milepost.database.query(jobs.state_of, job_id)
    return Submitted(id=job_id, state=state, existed=existed)
