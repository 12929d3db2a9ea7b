"""The pages of queues, workers and snapshots."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import Connection

from milepost.connectors import Secrets
from milepost.downloads.looking import rows_of, tables_of
from milepost.errors import MilepostError
from milepost.store import overview, pauses, samples, summaries, workers
from milepost.store.filters import JobFilter
from milepost.web.api.fields import Asked, QueueName
from milepost.web.dashboard import charts
from milepost.web.dashboard.pages import back_to, page
from milepost.web.dependencies import App, snapshot_named
from milepost.web.guard import OperatorOfAll, ViewerOfAll

router = APIRouter()

ROWS = 50
PER_PAGE = 100
LAST_HOUR = timedelta(hours=1)


@router.get("/queues")
async def show_queues(
    request: Request, milepost: App, caller: ViewerOfAll, after: Asked = None
) -> HTMLResponse:
    clock = milepost.database.clock

    def read(conn: Connection) -> tuple[list[overview.Queue], dict[str, list[samples.Depth]]]:
        found = overview.queues(conn, after=after or "", limit=PER_PAGE + 1)
        names = [each.name for each in found]
        return found, samples.of_queues(conn, clock, names, over=LAST_HOUR, slots=60)

    found, depths = await milepost.database.query(read)
    more = found[PER_PAGE - 1].name if len(found) > PER_PAGE else None
    courses = {name: charts.depths(each) for name, each in depths.items()}
    return page(
        request, caller, "queues.html", queues=found[:PER_PAGE], courses=courses, after=after,
        more=more,
    )  # fmt: skip


@router.post("/queues/{queue}/{act}")
async def steer_queue(
    request: Request,
    queue: QueueName,
    act: Literal["pause", "resume"],
    milepost: App,
    _: OperatorOfAll,
) -> RedirectResponse:
    """Pause a queue, or let it go on."""
    if act == "pause":
        await milepost.database.run(pauses.pause, milepost.database.clock, queue)
        return back_to(request, "queues", f"{queue} is paused: what runs goes on, no more begins")
    await milepost.database.run(pauses.resume, queue)
    return back_to(request, "queues", f"{queue} goes on")


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
    request: Request, name: str, milepost: App, caller: ViewerOfAll, table: Asked = None
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
    return back_to(request, f"snapshots/{name}", told)
