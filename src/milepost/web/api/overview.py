"""How the whole store is doing, over HTTP."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from milepost.store import overview
from milepost.web.dependencies import App
from milepost.web.guard import Viewer
from milepost.web.problems import documented

router = APIRouter(tags=["overview"], responses=documented(401, 403, 422, 503))


@router.get("/overview")
async def look_back(
    milepost: App,
    caller: Viewer,
    minutes: Annotated[int, Query(ge=1, le=24 * 60)] = 60,
) -> overview.Overview:
    """Look back: what ended in the last minutes, how long it took, how often it failed."""
    return await milepost.database.query(
        overview.look_back, milepost.database.clock, over=timedelta(minutes=minutes),
        slots=min(60, minutes), owner=caller.owner,
    )  # fmt: skip


@router.get("/failures")
async def failures(milepost: App, caller: Viewer) -> Sequence[overview.Failures]:
    """Group the newest thousand failed jobs by their error, the largest group first."""
    return await milepost.database.query(overview.failures, owner=caller.owner)
