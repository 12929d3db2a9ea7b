"""Jobs over HTTP: look, steer."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from milepost.access import Caller
from milepost.handles import JobHandle
from milepost.jobs.leases import LARGEST_ID, JobId
from milepost.jobs.states import JobState
from milepost.store import families, progress, summaries
from milepost.store.filters import JobFilter
from milepost.web.api import job_models
from milepost.web.api.fields import Asked, Body, Priority, Reason
from milepost.web.dependencies import App, JobNumber, own_job
from milepost.web.guard import Operator, Viewer
from milepost.web.problems import documented

router = APIRouter(tags=["jobs"], responses=documented(401, 403, 422, 503))


class CancelOrder(Body):
    """Why, and how long to wait for what becomes of it (seconds)."""

    reason: Reason | None = None
    wait: Annotated[float, Field(ge=0, le=60)] = 5.0


class Cancelled(BaseModel):
    """What became of a request to cancel, also as a sentence."""

    id: int
    state: JobState
    cancelled: bool
    finished_first: bool
    told: str


class Changes(Body):
    """What can be changed of a job that has not ended."""

    priority: Priority


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
) -> job_models.Jobs:
    """List jobs, the newest first."""
    meant = JobFilter(states=state, kind=kind, queue=queue, owner=owner, tag=tag, search=search)
    if caller.owner is not None and owner not in (None, caller.owner):
        return job_models.Jobs(items=[], next=None)
    found = await milepost.database.query(
        summaries.newest, meant.of_owner(caller.owner), before=before, limit=limit + 1
    )
    more = found[limit - 1].id if len(found) > limit else None
    return job_models.Jobs(items=[job_models.line(each) for each in found[:limit]], next=more)


@router.get("/jobs/{job_id}", responses=documented(404))
async def show(job_id: JobNumber, milepost: App, caller: Viewer) -> job_models.Job:
    """Show one job: args, progress, checkpoint, attempts, result, and whom it waits for."""
    return await _shown(await own_job(milepost, caller, job_id), caller)


@router.get("/jobs/{job_id}/children", responses=documented(404))
async def list_children(
    job_id: JobNumber,
    milepost: App,
    caller: Viewer,
    after: Annotated[int, Query(ge=0, le=LARGEST_ID, description="`next` of a page")] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> job_models.Jobs:
    """List the jobs that a job waits for, the oldest first."""
    await own_job(milepost, caller, job_id)

    def read(conn: Connection) -> tuple[list[JobId], list[summaries.JobSummary]]:
        page = families.children_page(conn, job_id, after=after, limit=limit + 1)
        return page, summaries.of_ids(conn, page[:limit])

    page, found = await milepost.database.query(read)
    own = [each for each in found if caller.owner in (None, each.owner)]
    return job_models.Jobs(
        items=[job_models.line(each) for each in sorted(own, key=lambda each: each.id)],
        next=page[limit - 1] if len(page) > limit else None,
    )


@router.patch("/jobs/{job_id}", responses=documented(404, 409))
async def change(
    job_id: JobNumber, order: Changes, milepost: App, caller: Operator
) -> job_models.Job:
    """Give a job that has not ended another priority; 0 runs first."""
    handle = await own_job(milepost, caller, job_id)
    await handle.reprioritise(order.priority)
    return await _shown(handle, caller)


@router.get("/jobs/{job_id}/progress", responses=documented(404))
async def show_progress(
    job_id: JobNumber, milepost: App, caller: Viewer
) -> Sequence[job_models.PointOut]:
    """Show the course of a job's progress, at most some 240 points, the oldest first."""
    await own_job(milepost, caller, job_id)
    return [
        job_models.PointOut(
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
) -> Sequence[job_models.LogLineOut]:
    """Show what a job has logged, at most its newest thousand lines, the oldest first."""
    handle = await own_job(milepost, caller, job_id)
    return [
        job_models.LogLineOut(
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
    order: CancelOrder | None = None,
) -> Cancelled:
    """Ask a job and those that it waits for to stop, and say what became of it."""
    handle = await own_job(milepost, caller, job_id)
    order = order or CancelOrder()
    done = await handle.cancel(order.reason, wait=timedelta(seconds=order.wait))
    return Cancelled(
        id=job_id, state=done.state, cancelled=done.cancelled,
        finished_first=done.finished_first, told=str(done),
    )  # fmt: skip


@router.post("/jobs/{job_id}/retry", responses=documented(404, 409))
async def retry(job_id: JobNumber, milepost: App, caller: Operator) -> job_models.Job:
    """Send a failed or cancelled job back to available; it goes on from its checkpoint."""
    handle = await own_job(milepost, caller, job_id)
    await handle.retry()
    return await _shown(handle, caller)


async def _shown(handle: JobHandle[Any], caller: Caller) -> job_models.Job:
    flow = await handle.flow()
    if caller.owner is not None:
        flow = replace(flow, parents=[each for each in flow.parents if each.owner == caller.owner])
    return job_models.job(
        await handle.view(), await handle.estimate(), await handle.attempts(), flow
    )
