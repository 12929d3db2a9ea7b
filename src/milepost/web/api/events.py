"""Server-sent events: of one job, of all."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from milepost.jobs.leases import LARGEST_ID
from milepost.web.dependencies import App, JobNumber, own_job
from milepost.web.feed import Feed
from milepost.web.guard import Viewer
from milepost.web.problems import documented

router = APIRouter(tags=["events"], responses=documented(401, 403, 422, 503))

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
}


LastEventId = Annotated[str | None, Header(max_length=40)]


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={**_STREAM, **documented(404)},
)
async def follow(
    job_id: JobNumber,
    request: Request,
    milepost: App,
    caller: Viewer,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """Follow one job: `job` events with its newest state, `log` events, and at last `end`."""
    await own_job(milepost, caller, job_id)
    feed: Feed = request.app.state.feed
    return _streamed(feed.of_job(job_id, after_line=_number(last_event_id)))


@router.get("/events", response_class=StreamingResponse, responses=_STREAM)
async def follow_all(
    request: Request, caller: Viewer, last_event_id: LastEventId = None
) -> StreamingResponse:
    """Follow all jobs: `job` events with what a list shows of each that changes."""
    feed: Feed = request.app.state.feed
    at = _number(last_event_id)
    since = datetime.fromtimestamp(at / 1000, UTC) if 0 < at < 10**14 else None
    return _streamed(feed.of_all(owner=caller.owner, since=since))


def _streamed(events: AsyncGenerator[bytes, None]) -> StreamingResponse:
    async def closed_in_time() -> AsyncGenerator[bytes, None]:
        async with aclosing(events):
            async for each in events:
                yield each

    return StreamingResponse(
        closed_in_time(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and int(text) <= LARGEST_ID else 0
