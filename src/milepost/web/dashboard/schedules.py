"""The dashboard's page of schedules."""

from typing import Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from milepost.errors import MilepostError
from milepost.schedules import describe
from milepost.web.api.schedules import ScheduleName, own_schedule
from milepost.web.dashboard.pages import page, where
from milepost.web.dependencies import App
from milepost.web.guard import Operator, Viewer

router = APIRouter()


@router.get("/schedules")
async def show_schedules(request: Request, milepost: App, caller: Viewer) -> HTMLResponse:
    """Show all schedules that are the caller's to see."""
    found = await milepost.schedules.listed(owner=caller.owner)
    return page(
        request, caller, "schedules.html", schedules=[(each, describe(each)) for each in found]
    )


@router.post("/schedules/{name}/{act}")
async def steer_schedule(
    request: Request,
    name: ScheduleName,
    act: Literal["pause", "resume", "run-now"],
    milepost: App,
    caller: Operator,
) -> RedirectResponse:
    """Pause a schedule, let it go on, or submit its job now."""
    await own_schedule(milepost, caller, name)
    try:
        if act == "pause":
            await milepost.schedules.pause(name)
            told = f"{name} is paused: what it has submitted runs"
        elif act == "resume":
            await milepost.schedules.resume(name)
            told = f"{name} goes on with its next moment"
        else:
            made = await milepost.schedules.run_now(name)
            told = f"job {made.job_id}" + (", which has not ended" if made.existed else "")
    except MilepostError as error:
        told = str(error)
    query = urlencode({"told": told[:500]})
    return RedirectResponse(where(request, f"schedules?{query}"), status_code=303)
