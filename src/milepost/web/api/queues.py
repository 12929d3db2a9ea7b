"""Queues over HTTP: what waits, and whether it may begin."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from milepost.jobs.limits import LONGEST_PER
from milepost.store import limits, overview, pauses, samples
from milepost.store.limits import QueueLimits
from milepost.web.api.fields import Asked, Body, QueueName
from milepost.web.dependencies import App
from milepost.web.guard import OperatorOfAll, ViewerOfAll
from milepost.web.problems import Refused, documented

router = APIRouter(tags=["queues"], responses=documented(401, 403, 422, 503))


Most = Annotated[int, Field(ge=1, le=2**31 - 1)]


class QueueLimitsOut(BaseModel):
    """Of all workers together: how many run at once, begin within `per` seconds, may wait."""

    concurrency: int | None
    rate: int | None
    per: float | None
    length: int | None


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
    limits: QueueLimitsOut


class QueueLimitsIn(Body):
    """The limits of a queue from now on, instead of all that it had."""

    concurrency: Most | None = None
    rate: Most | None = Field(None, description="how many begin in any stretch of `per`")
    per: Annotated[float, Field(ge=0.001, le=LONGEST_PER.total_seconds())] | None = Field(
        None, description="seconds; together with rate"
    )
    length: Most | None = Field(None, description="how many may wait")


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
    """Show the queues that hold something that has not ended, are paused, or have limits."""
    return [
        QueueOut(
            name=each.name, scheduled=each.scheduled, available=each.available,
            running=each.running, oldest=each.oldest, paused=each.paused,
            limits=_limits(each.limits),
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


@router.put("/queues/{queue:path}/limits", responses=documented(404))
async def limit(
    queue: QueueName, order: QueueLimitsIn, milepost: App, _: OperatorOfAll
) -> QueueLimitsOut:
    """Give a queue limits, in all workers together, instead of those that it had."""
    if (order.rate is None) is not (order.per is None):
        raise Refused(422, "Request does not fit", "rate and per go together")
    per = None if order.per is None else timedelta(seconds=order.per)
    given = QueueLimits(order.concurrency, order.rate, per, order.length)
    await milepost.database.run(limits.set_limits, queue, given)
    return _limits(given)


def _limits(given: QueueLimits) -> QueueLimitsOut:
    return QueueLimitsOut(
        concurrency=given.concurrency, rate=given.rate,
        per=None if given.per is None else given.per.total_seconds(), length=given.length,
    )  # fmt: skip
