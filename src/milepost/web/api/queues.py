"""Queues over HTTP: what waits, and whether it may begin."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from milepost.store import overview, pauses
from milepost.web.api.fields import NO_NUL
from milepost.web.dependencies import App
from milepost.web.guard import OperatorOfAll, ViewerOfAll
from milepost.web.problems import documented

router = APIRouter(tags=["queues"], responses=documented(401, 403, 422, 503))

QueueName = Annotated[str, Path(min_length=1, max_length=200, pattern=NO_NUL)]


class QueueOut(BaseModel):
    """What waits and runs in a queue; of a paused one nothing begins.

    `oldest`: since when its first job could run.
    """

    name: str
    scheduled: int
    available: int
    running: int
    oldest: datetime | None
    paused: bool


@router.get("/queues")
async def queues(milepost: App, _: ViewerOfAll) -> Sequence[QueueOut]:
    """Show the queues that hold something that has not ended."""
    return [
        QueueOut(
            name=each.name, scheduled=each.scheduled, available=each.available,
            running=each.running, oldest=each.oldest, paused=each.paused,
        )
        for each in await milepost.database.query(overview.queues)
    ]  # fmt: skip


@router.post("/queues/{queue}/pause", status_code=204)
async def pause(queue: QueueName, milepost: App, _: OperatorOfAll) -> None:
    """Let no job of a queue begin; what runs goes on. Workers see it within a second."""
    await milepost.database.run(pauses.pause, milepost.database.clock, queue)


@router.post("/queues/{queue}/resume", status_code=204)
async def resume(queue: QueueName, milepost: App, _: OperatorOfAll) -> None:
    """Let the jobs of a queue begin again."""
    await milepost.database.run(pauses.resume, queue)
