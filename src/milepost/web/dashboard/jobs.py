"""The pages of jobs: many, and one."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Connection

from milepost import bulk
from milepost.access import Caller
from milepost.errors import MilepostError
from milepost.jobs.leases import LARGEST_ID
from milepost.jobs.states import JobState
from milepost.store import overview, progress, summaries
from milepost.store.filters import JobFilter
from milepost.web.api.fields import NO_NUL, Asked
from milepost.web.dashboard import charts
from milepost.web.dashboard.pages import back_to, page
from milepost.web.dependencies import App, JobNumber, own_job
from milepost.web.guard import Operator, Viewer

router = APIRouter()

PER_PAGE = 50


# A page does not wait long for what becomes of a cancel: it shows it when it comes.
CANCEL_WAIT = timedelta(seconds=1)


@router.get("/jobs")
async def show_jobs(
    request: Request,
    milepost: App,
    caller: Viewer,
    state: Annotated[list[str], Query()] = [],  # noqa: B006 (FastAPI copies it)
    kind: Asked = None,
    queue: Asked = None,
    search: Asked = None,
    before: Annotated[int | None, Query(ge=1, le=LARGEST_ID)] = None,
) -> HTMLResponse:
    meant = _filter(caller, state, kind, queue, search)

    def read(conn: Connection) -> tuple[Any, Any]:
        found = summaries.newest(conn, meant, before=before, limit=PER_PAGE + 1)
        return found, summaries.names(conn)

    found, (kinds, queues) = await milepost.database.query(read)
    given = _query(meant)
    older = urlencode([*given, ("before", found[PER_PAGE - 1].id)]) if len(found) > PER_PAGE else ""
    return page(
        request, caller, "jobs.html", jobs=found[:PER_PAGE], older=older, newer=urlencode(given),
        meant=meant, given=given, kinds=kinds, queues=queues, states=list(JobState), before=before,
    )  # fmt: skip


@router.post("/jobs/chosen")
async def steer_chosen(
    request: Request,
    milepost: App,
    caller: Operator,
    act: Annotated[Literal["cancel", "retry"], Form()],
    job: Annotated[list[int], Form()] = [],  # noqa: B006
    back: Annotated[str, Form(max_length=2000)] = "",
) -> RedirectResponse:
    """Cancel or retry the jobs that were ticked; those for which that is too late are passed by."""
    done = 0
    for each in job[:PER_PAGE]:
        try:
            handle = await own_job(milepost, caller, each)
            if act == "cancel":
                done += (await handle.cancel(None, wait=timedelta(0))).finished_first is False
            else:
                await handle.retry()
                done += 1
        except MilepostError:
            continue
    verb = "told to stop" if act == "cancel" else "sent back to available"
    return back_to(request, f"jobs?{back}" if back else "jobs", f"{done} of {len(job)} jobs {verb}")


@router.post("/jobs/all")
async def steer_all(
    request: Request,
    milepost: App,
    caller: Operator,
    act: Annotated[Literal["cancel", "retry"], Form()],
    state: Annotated[list[str], Form()] = [],  # noqa: B006
    kind: Annotated[str | None, Form(max_length=200, pattern=NO_NUL)] = None,
    queue: Annotated[str | None, Form(max_length=200, pattern=NO_NUL)] = None,
    search: Annotated[str | None, Form(max_length=200, pattern=NO_NUL)] = None,
    sure: Annotated[bool, Form()] = False,  # noqa: FBT002 (a field of a form)
) -> Response:
    """Cancel or retry all that fit, after a page that says how many those are."""
    meant = _filter(caller, state, kind, queue, search)
    if act == "cancel":
        done = await bulk.cancel(milepost, meant, reason=None, dry_run=not sure)
    else:
        done = await bulk.retry(milepost, meant, dry_run=not sure)
    if not sure:
        return page(
            request, caller, "sure.html", act=act, count=done.meant, more=done.more,
            given=_query(meant), back=urlencode(_query(meant)),
        )  # fmt: skip
    verb = "told to stop" if act == "cancel" else "sent back to available"
    return back_to(request, f"jobs?{urlencode(_query(meant))}", f"{done.changed:,} jobs {verb}")


@router.get("/jobs/{job_id}")
async def show_job(
    request: Request, job_id: JobNumber, milepost: App, caller: Viewer
) -> HTMLResponse:
    handle = await own_job(milepost, caller, job_id)
    view = await handle.view()
    points = await milepost.database.query(progress.of_job, job_id)
    attempts = await handle.attempts()
    flow = await handle.flow()
    return page(
        request, caller, "job.html", job=view, estimate=await handle.estimate(),
        attempts=attempts, flow=flow, owner=caller.owner, lines=(await handle.logs())[-200:],
        trace=next((each.traceback for each in reversed(attempts) if each.traceback), None),
        chart=charts.course(points), events=f"api/v1/jobs/{job_id}/events",
    )  # fmt: skip


@router.post("/jobs/{job_id}/cancel")
async def cancel(
    request: Request,
    job_id: JobNumber,
    milepost: App,
    caller: Operator,
    reason: Annotated[str, Form(max_length=1000, pattern=NO_NUL)] = "",
) -> RedirectResponse:
    handle = await own_job(milepost, caller, job_id)
    done = await handle.cancel(reason or None, wait=CANCEL_WAIT)
    return back_to(request, f"jobs/{job_id}", str(done))


@router.post("/jobs/{job_id}/retry")
async def retry(
    request: Request, job_id: JobNumber, milepost: App, caller: Operator
) -> RedirectResponse:
    handle = await own_job(milepost, caller, job_id)
    try:
        await handle.retry()
        told = "it is available again and goes on from its checkpoint"
    except MilepostError as error:
        told = str(error)
    return back_to(request, f"jobs/{job_id}", told)


@router.get("/failures")
async def show_failures(request: Request, milepost: App, caller: Viewer) -> HTMLResponse:
    groups = await milepost.database.query(overview.failures, owner=caller.owner)
    return page(request, caller, "failures.html", groups=groups)


def _filter(
    caller: Caller, state: Sequence[str], kind: str | None, queue: str | None, search: str | None
) -> JobFilter:
    # A form sends what was left empty too.
    states = [JobState(each) for each in state if each in list(JobState)]
    meant = JobFilter(
        states=states, kind=kind or None, queue=queue or None, search=(search or "").strip() or None
    )
    return meant.of_owner(caller.owner)


def _query(meant: JobFilter) -> list[tuple[str, str]]:
    given = (("kind", meant.kind), ("queue", meant.queue), ("search", meant.search))
    return [
        *(("state", str(each)) for each in meant.states),
        *((name, value) for name, value in given if value),
    ]
