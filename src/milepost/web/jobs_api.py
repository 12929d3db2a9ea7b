"""Jobs over HTTP: submit, look, steer."""

import hashlib
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from milepost import bulk
from milepost.access import Caller
from milepost.app import Milepost
from milepost.errors import JobNotFound, PayloadInvalid
from milepost.handles import JobHandle
from milepost.jobs.leases import LARGEST_ID, JobId
from milepost.jobs.requests import SubmitOptions
from milepost.jobs.states import JobState
from milepost.store import families, idempotency, jobs, progress, summaries
from milepost.store.filters import JobFilter
from milepost.web import models
from milepost.web.feed import Feed
from milepost.web.guard import Operator, Viewer
from milepost.web.problems import Refused, documented

router = APIRouter(tags=["jobs"], responses=documented(401, 403, 422, 503))

JobNumber = Annotated[int, Path(ge=1, le=LARGEST_ID, description="the job's id")]


def milepost_of(request: Request) -> Milepost:
    """Find the application that this serves."""
    milepost: Milepost = request.app.state.milepost
    return milepost


App = Annotated[Milepost, Depends(milepost_of)]
Asked = Annotated[str | None, Query(max_length=200, pattern=models.NO_NUL)]


@router.post(
    "/jobs",
    status_code=201,
    responses={
        200: {"model": models.Submitted, "description": "There was such a job already"},
        **documented(400, 404, 409, 413),
    },
)
async def submit(
    order: models.Submission,
    request: Request,
    response: Response,
    milepost: App,
    caller: Operator,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> models.Submitted:
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
    handle = await _submit(milepost, order.kind, args, options, key, asked)
    if handle.existed:
        response.status_code = 200
    return await _submitted(request, response, milepost, handle.job_id, existed=handle.existed)


@router.get("/jobs")
async def list_jobs(
    milepost: App,
    caller: Viewer,
    state: Annotated[list[JobState], Query()] = [],  # noqa: B006 (FastAPI copies it)
    kind: Asked = None,
    queue: Asked = None,
    owner: Asked = None,
    tag: Asked = None,
    search: Asked = None,
    before: Annotated[
        int | None, Query(ge=1, le=LARGEST_ID, description="`next` of a page")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> models.Jobs:
    """List jobs, the newest first."""
    meant = JobFilter(states=state, kind=kind, queue=queue, owner=owner, tag=tag, search=search)
    if caller.owner is not None and owner not in (None, caller.owner):
        return models.Jobs(items=[], next=None)
    found = await milepost.database.query(
        summaries.newest, meant.of_owner(caller.owner), before=before, limit=limit + 1
    )
    more = found[limit - 1].id if len(found) > limit else None
    return models.Jobs(items=[models.line(each) for each in found[:limit]], next=more)


@router.post("/jobs/cancel")
async def cancel_all(order: models.BulkOrder, milepost: App, caller: Operator) -> models.BulkDone:
    """Ask all jobs that fit to stop, without waiting for them."""
    meant = _meant(order.meant, caller)
    done = await bulk.cancel(milepost, meant, reason=order.reason, dry_run=order.dry_run)
    return models.BulkDone(meant=done.meant, changed=done.changed, more=done.more)


@router.post("/jobs/retry")
async def retry_all(order: models.BulkOrder, milepost: App, caller: Operator) -> models.BulkDone:
    """Send all failed and cancelled jobs that fit back to available."""
    done = await bulk.retry(milepost, _meant(order.meant, caller), dry_run=order.dry_run)
    return models.BulkDone(meant=done.meant, changed=done.changed, more=done.more)


@router.get("/jobs/{job_id}", responses=documented(404))
async def show(job_id: JobNumber, milepost: App, caller: Viewer) -> models.Job:
    """Show one job: args, progress, checkpoint, attempts, result, and whom it waits for."""
    return await _shown(await own_job(milepost, caller, job_id), caller)


@router.get("/jobs/{job_id}/children", responses=documented(404))
async def list_children(
    job_id: JobNumber,
    milepost: App,
    caller: Viewer,
    after: Annotated[int, Query(ge=0, le=LARGEST_ID, description="`next` of a page")] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> models.Jobs:
    """List the jobs that a job waits for, the oldest first."""
    await own_job(milepost, caller, job_id)

    def read(conn: Connection) -> tuple[list[JobId], list[summaries.JobSummary]]:
        page = families.children_page(conn, job_id, after=after, limit=limit + 1)
        return page, summaries.of_ids(conn, page[:limit])

    page, found = await milepost.database.query(read)
    own = [each for each in found if caller.owner in (None, each.owner)]
    return models.Jobs(
        items=[models.line(each) for each in sorted(own, key=lambda each: each.id)],
        next=page[limit - 1] if len(page) > limit else None,
    )


@router.patch("/jobs/{job_id}", responses=documented(404, 409))
async def change(
    job_id: JobNumber, order: models.Changes, milepost: App, caller: Operator
) -> models.Job:
    """Give a job that has not ended another priority; 0 runs first."""
    handle = await own_job(milepost, caller, job_id)
    await milepost.database.run(jobs.reprioritise, job_id, order.priority)
    return await _shown(handle, caller)


@router.get("/jobs/{job_id}/progress", responses=documented(404))
async def show_progress(
    job_id: JobNumber, milepost: App, caller: Viewer
) -> Sequence[models.PointOut]:
    """Show the course of a job's progress, at most some 240 points, the oldest first."""
    await own_job(milepost, caller, job_id)
    return [
        models.PointOut(
            attempt=each.attempt, at=each.at, count=each.count, total=each.total,
            message=each.message,
        )
        for each in await milepost.database.query(progress.of_job, job_id)
    ]  # fmt: skip


@router.get("/jobs/{job_id}/logs", responses=documented(404))
async def show_logs(
    job_id: JobNumber,
    milepost: App,
    caller: Viewer,
    after: Annotated[int, Query(ge=0, le=LARGEST_ID, description="a line's id")] = 0,
) -> Sequence[models.LogLineOut]:
    """Show what a job has logged, at most its newest thousand lines, the oldest first."""
    handle = await own_job(milepost, caller, job_id)
    return [
        models.LogLineOut(
            id=each.id, attempt=each.lease.attempt, at=each.at, level=each.level,
            message=each.message,
        )
        for each in await handle.logs(after=after)
    ]  # fmt: skip


@router.post("/jobs/{job_id}/cancel", responses=documented(404))
async def cancel(
    job_id: JobNumber,
    milepost: App,
    caller: Operator,
    order: models.CancelOrder | None = None,
) -> models.Cancelled:
    """Ask a job and those that it waits for to stop, and say what became of it."""
    handle = await own_job(milepost, caller, job_id)
    order = order or models.CancelOrder()
    done = await handle.cancel(order.reason, wait=timedelta(seconds=order.wait))
    return models.Cancelled(
        id=job_id, state=done.state, cancelled=done.cancelled,
        finished_first=done.finished_first, told=str(done),
    )  # fmt: skip


@router.post("/jobs/{job_id}/retry", responses=documented(404, 409))
async def retry(job_id: JobNumber, milepost: App, caller: Operator) -> models.Job:
    """Send a failed or cancelled job back to available; it goes on from its checkpoint."""
    handle = await own_job(milepost, caller, job_id)
    await handle.retry()
    return await _shown(handle, caller)


_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
}
LastEventId = Annotated[str | None, Header(max_length=40)]


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={**_STREAM, **documented(404)},
)
async def follow(
    job_id: JobNumber,
    request: Request,
    milepost: App,
    caller: Viewer,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """Follow one job: `job` events with its newest state, `log` events, and at last `end`."""
    await own_job(milepost, caller, job_id)
    feed: Feed = request.app.state.feed
    return _streamed(feed.of_job(job_id, after_line=_number(last_event_id)))


@router.get("/events", response_class=StreamingResponse, responses=_STREAM)
async def follow_all(
    request: Request, caller: Viewer, last_event_id: LastEventId = None
) -> StreamingResponse:
    """Follow all jobs: `job` events with what a list shows of each that changes."""
    feed: Feed = request.app.state.feed
    at = _number(last_event_id)
    since = datetime.fromtimestamp(at / 1000, UTC) if 0 < at < 10**14 else None
    return _streamed(feed.of_all(owner=caller.owner, since=since))


def _streamed(events: AsyncGenerator[bytes, None]) -> StreamingResponse:
    async def closed_in_time() -> AsyncGenerator[bytes, None]:
        async with aclosing(events):
            async for each in events:
                yield each

    return StreamingResponse(
        closed_in_time(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and int(text) <= LARGEST_ID else 0


async def own_job(milepost: Milepost, caller: Caller, job_id: JobId) -> JobHandle[Any]:
    """Take hold of a job that is the caller's to see. Raises JobNotFound."""
    handle: JobHandle[Any] = milepost.handle(job_id)
    if caller.owner is not None and (await handle.view()).owner != caller.owner:
        raise JobNotFound(job_id)
    if caller.owner is None:
        await milepost.database.query(jobs.state_of, job_id)
    return handle


async def _shown(handle: JobHandle[Any], caller: Caller) -> models.Job:
    flow = await handle.flow()
    if caller.owner is not None:
        flow = replace(flow, parents=[each for each in flow.parents if each.owner == caller.owner])
    return models.job(await handle.view(), await handle.estimate(), await handle.attempts(), flow)


def _meant(meant: models.Meant, caller: Caller) -> JobFilter:
    if caller.owner is not None and meant.owner not in (None, caller.owner):
        raise Refused(403, "Not allowed", f"{caller.name!r} steers jobs of {caller.owner!r} alone")
    chosen = JobFilter(
        states=meant.states, kind=meant.kind, queue=meant.queue, owner=meant.owner, tag=meant.tag,
        search=meant.search,
    )  # fmt: skip
    return chosen.of_owner(caller.owner)


def _options(order: models.Submission, caller: Caller) -> SubmitOptions:
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
) -> models.Submitted:
    response.headers["Location"] = str(request.url_for("show", job_id=job_id).path)
    state = await milepost.database.query(jobs.state_of, job_id)
    return models.Submitted(id=job_id, state=state, existed=existed)
