"""Queues over HTTP: what waits, and whether it may begin."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from milepost.store import overview, pauses, samples
from milepost.web.api.fields import Asked, QueueName
from milepost.web.dependencies import App
from milepost.web.guard import OperatorOfAll, ViewerOfAll
from milepost.web.problems import documented

router = APIRouter(tags=["queues"], responses=documented(401, 403, 422, 503))


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


class DepthOut(BaseModel):
    """How many jobs waited at most in a stretch of time that begins `at`, and the longest wait.

    `oldest_wait` in seconds. Null where no worker ran to look.
    """

    at: datetime
    available: int | None
    oldest_wait: float | None


@router.get("/queues")
async def queues(
    milepost: App,
    _: ViewerOfAll,
    after: Annotated[str, Query(max_length=200, description="the last name of a page")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Sequence[QueueOut]:
    """Show the queues that hold something that has not ended, and those that are paused."""
    return [
        QueueOut(
            name=each.name, scheduled=each.scheduled, available=each.available,
            running=each.running, oldest=each.oldest, paused=each.paused,
        )
        for each in await milepost.database.query(overview.queues, after=after, limit=limit)
    ]  # fmt: skip


@router.get("/queues/history")
async def history(
    milepost: App,
    _: ViewerOfAll,
    queue: Asked = None,
    minutes: Annotated[int, Query(ge=1, le=7 * 24 * 60)] = 60,
) -> Sequence[DepthOut]:
    """Show how long a queue was in the last minutes, or all together, in at most 60 slots.

    A sample a minute, of the longest queues: another counts as empty.
    """
    found = await milepost.database.query(
        samples.over_time, milepost.database.clock, over=timedelta(minutes=minutes),
        slots=min(60, minutes), queue=queue or samples.ALL,
    )  # fmt: skip
    return [
        DepthOut(at=each.at, available=each.available, oldest_wait=each.oldest_wait)
        for each in found
    ]


@router.post("/queues/{queue:path}/pause", status_code=204, responses=documented(404))
async def pause(queue: QueueName, milepost: App, _: OperatorOfAll) -> None:
    """Let no job of a queue begin; what runs goes on. Workers see it within a second."""
    await milepost.database.run(pauses.pause, milepost.database.clock, queue)


@router.post("/queues/{queue:path}/resume", status_code=204, responses=documented(404))
async def resume(queue: QueueName, milepost: App, _: OperatorOfAll) -> None:
    """Let the jobs of a queue begin again."""
    await milepost.database.run(pauses.resume, queue)
