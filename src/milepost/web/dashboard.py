"""The dashboard: pages made on the server, which a little script keeps up to date."""

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Connection

from milepost import bulk
from milepost.access import Caller
from milepost.connectors import Secrets, source_from
from milepost.downloads import DownloadRecords, download_records
from milepost.downloads.looking import rows_of, tables_of
from milepost.errors import MilepostError
from milepost.jobs.leases import LARGEST_ID
from milepost.jobs.states import JobState
from milepost.store import overview, pauses, progress, summaries, workers
from milepost.store.filters import JobFilter
from milepost.web import charts
from milepost.web.guard import (
    COOKIE,
    Operator,
    OperatorOfAll,
    Viewer,
    ViewerOfAll,
    address_of,
    guard_of,
)
from milepost.web.jobs_api import App, JobNumber, own_job
from milepost.web.models import NO_NUL
from milepost.web.pages import page, where
from milepost.web.parts_api import snapshot_named

router = APIRouter()

PER_PAGE = 50
ROWS = 50
LOOK_BACK = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
SLOTS = 60
# A page does not wait long for what becomes of a cancel: it shows it when it comes.
CANCEL_WAIT = timedelta(seconds=1)

Short = Annotated[str | None, Query(max_length=200, pattern=NO_NUL)]


@router.get("/")
async def show_overview(
    request: Request, milepost: App, caller: Viewer, over: Short = None
) -> HTMLResponse:
    chosen = over if over in LOOK_BACK else "1h"

    def read(conn: Connection) -> dict[str, Any]:
        found = overview.look_back(
            conn, milepost.database.clock, over=LOOK_BACK[chosen], slots=SLOTS, owner=caller.owner
        )
        meant = JobFilter().of_owner(caller.owner)
        return {
            "found": found,
            "newest": summaries.newest(conn, meant, limit=10),
            "queues": overview.queues(conn) if caller.owner is None else [],
            "failures": overview.failures(conn, owner=caller.owner)[:5],
        }

    found = await milepost.database.query(read)
    slots = found["found"].slots
    chart, waits = charts.bars(slots), charts.waits(slots)
    return page(
        request,
        caller,
        "overview.html",
        over=chosen,
        overs=LOOK_BACK,
        chart=chart,
        waits=waits,
        **found,
    )


@router.get("/jobs")
async def show_jobs(
    request: Request,
    milepost: App,
    caller: Viewer,
    state: Annotated[list[str], Query()] = [],  # noqa: B006 (FastAPI copies it)
    kind: Short = None,
    queue: Short = None,
    search: Short = None,
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
    return _back(request, f"jobs?{back}" if back else "jobs", f"{done} of {len(job)} jobs {verb}")


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
    return _back(request, f"jobs?{urlencode(_query(meant))}", f"{done.changed:,} jobs {verb}")


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
    return _back(request, f"jobs/{job_id}", str(done))


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
    return _back(request, f"jobs/{job_id}", told)


@router.get("/failures")
async def show_failures(request: Request, milepost: App, caller: Viewer) -> HTMLResponse:
    groups = await milepost.database.query(overview.failures, owner=caller.owner)
    return page(request, caller, "failures.html", groups=groups)


@router.get("/queues")
async def show_queues(request: Request, milepost: App, caller: ViewerOfAll) -> HTMLResponse:
    found = await milepost.database.query(overview.queues)
    return page(request, caller, "queues.html", queues=found)


@router.post("/queues/{queue}/{act}")
async def steer_queue(
    request: Request, queue: str, act: Literal["pause", "resume"], milepost: App, _: OperatorOfAll
) -> RedirectResponse:
    """Pause a queue, or let it go on."""
    if act == "pause":
        await milepost.database.run(pauses.pause, milepost.database.clock, queue)
        return _back(request, "queues", f"{queue} is paused: what runs goes on, no more begins")
    await milepost.database.run(pauses.resume, queue)
    return _back(request, "queues", f"{queue} goes on")


@router.get("/workers")
async def show_workers(request: Request, milepost: App, caller: ViewerOfAll) -> HTMLResponse:
    found = await milepost.database.query(workers.unstopped)
    late = datetime.now(UTC) - milepost.settings.worker.lease_for
    return page(request, caller, "workers.html", workers=found, late=late)


@router.get("/snapshots")
async def show_snapshots(request: Request, milepost: App, caller: ViewerOfAll) -> HTMLResponse:
    return page(request, caller, "snapshots.html", snapshots=await milepost.snapshots.listed())


@router.get("/snapshots/{name}")
async def show_snapshot(
    request: Request, name: str, milepost: App, caller: ViewerOfAll, table: Short = None
) -> HTMLResponse:
    named = await snapshot_named(milepost, name)
    secrets = Secrets(os.environ)
    trouble, tables, rows = None, [], []
    try:
        tables = await asyncio.to_thread(tables_of, named, secrets)
        chosen = table or (tables[0].name if tables else None)
        if chosen is not None:
            rows = await asyncio.to_thread(rows_of, named, secrets, chosen, limit=ROWS)
    except MilepostError as error:
        trouble, chosen = str(error), table
    syncs = await milepost.database.query(
        summaries.newest, JobFilter(tag=f"snapshot:{name}"), limit=10
    )
    columns = list(dict.fromkeys(field for row in rows for field in row))
    return page(
        request, caller, "snapshot.html", named=named, tables=tables, chosen=chosen, rows=rows,
        columns=columns, trouble=trouble, syncs=syncs,
    )  # fmt: skip


@router.post("/snapshots/{name}/sync")
async def sync(request: Request, name: str, milepost: App, _: OperatorOfAll) -> RedirectResponse:
    await snapshot_named(milepost, name)
    try:
        handles = await milepost.sync(name)
        told = f"{len(handles)} jobs sync it"
    except MilepostError as error:
        told = str(error)
    return _back(request, f"snapshots/{name}", told)


@router.post("/downloads")
async def download(
    request: Request,
    milepost: App,
    _: OperatorOfAll,
    url: Annotated[str, Form(max_length=2000)],
    into: Annotated[str, Form(max_length=1000, pattern=NO_NUL)] = "snapshot.db",
) -> RedirectResponse:
    """Start a first download: what an API or a file has, into a database."""
    try:
        args = DownloadRecords(source=source_from(url.strip()), into=into.strip() or "snapshot.db")
        handle = await milepost.submit(download_records, args)
    except (MilepostError, ValueError) as error:
        return _back(request, "", str(error))
    return _back(request, f"jobs/{handle.job_id}", "submitted")


@router.get("/login")
async def show_login(request: Request) -> HTMLResponse:
    return page(request, None, "login.html", wrong=None)


@router.post("/login")
async def login(request: Request, token: Annotated[str, Form(max_length=500)]) -> Response:
    guard = guard_of(request)
    guard.check_origin(request)
    address = address_of(request)
    guard.attempts.check(address)
    if await guard.access.caller(token.strip()) is None:
        guard.attempts.failed(address)
        wrong = "This token opens nothing: it is none, or it was revoked."
        return page(request, None, "login.html", wrong=wrong, status=401)
    response = RedirectResponse(where(request, ""), status_code=303)
    response.set_cookie(
        COOKIE, token.strip(), httponly=True, samesite="strict",
        secure=request.url.scheme == "https", path=where(request, ""), max_age=30 * 24 * 3600,
    )  # fmt: skip
    return response


@router.post("/logout")
async def logout(request: Request) -> RedirectResponse:
    response = RedirectResponse(where(request, "login"), status_code=303)
    response.delete_cookie(COOKIE, path=where(request, ""))
    return response


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


def _back(request: Request, to: str, told: str) -> RedirectResponse:
    to += ("&" if "?" in to else "?") + urlencode({"told": told[:500]})
    return RedirectResponse(where(request, to), status_code=303)
