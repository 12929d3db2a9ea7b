"""The first page: how all is doing, and a form for a first download."""

from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import Connection

from milepost.connectors import source_from
from milepost.downloads import DownloadRecords, download_records
from milepost.errors import MilepostError
from milepost.store import overview, samples, summaries
from milepost.store.filters import JobFilter
from milepost.web.api.fields import NO_NUL, Asked
from milepost.web.dashboard import charts
from milepost.web.dashboard.pages import back_to, page
from milepost.web.dependencies import App
from milepost.web.guard import OperatorOfAll, Viewer

router = APIRouter()

LOOK_BACK: Final = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
}
SLOTS: Final = 60
MOST_QUEUES: Final = 10


@router.get("/")
async def show_overview(
    request: Request, milepost: App, caller: Viewer, over: Asked = None
) -> HTMLResponse:
    chosen = over if over in LOOK_BACK else "1h"
    clock, of_all = milepost.database.clock, caller.owner is None

    def read(conn: Connection) -> dict[str, Any]:
        stretch: Any = {"over": LOOK_BACK[chosen], "slots": SLOTS}
        meant = JobFilter().of_owner(caller.owner)
        longest = overview.queues(conn, longest=True, limit=MOST_QUEUES + 1) if of_all else []
        return {
            "found": overview.look_back(conn, clock, owner=caller.owner, **stretch),
            "depths": samples.over_time(conn, clock, **stretch) if of_all else [],
            "newest": summaries.newest(conn, meant, limit=10),
            "queues": longest[:MOST_QUEUES],
            "more_queues": len(longest) > MOST_QUEUES,
            "failures": overview.failures(conn, owner=caller.owner)[:5],
        }

    found = await milepost.database.query(read)
    slots, depths = found["found"].slots, found["depths"]
    return page(
        request, caller, "overview.html", over=chosen, overs=LOOK_BACK, ended=charts.ended(slots),
        waits=charts.waits(slots), available=charts.depths(depths),
        oldest=charts.oldest_waits(depths), **found,
    )  # fmt: skip


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
        return back_to(request, "", str(error))
    return back_to(request, f"jobs/{handle.job_id}", "submitted")
