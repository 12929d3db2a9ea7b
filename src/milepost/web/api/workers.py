"""Workers over HTTP, and what can be run."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel

from milepost.jobs.definition import KIND
from milepost.store import pauses, workers
from milepost.web.dependencies import App
from milepost.web.guard import OperatorOfAll, Viewer, ViewerOfAll
from milepost.web.problems import documented

router = APIRouter(responses=documented(401, 403, 422, 503))


KindName = Annotated[str, Path(pattern=f"^{KIND.pattern}$")]


class WorkerOut(BaseModel):
    """A worker; one that was not seen for longer than a lease is likely dead."""

    id: str
    host: str
    pid: int
    version: str
    queues: Sequence[str]
    concurrency: int
    running: int
    started_at: datetime
    seen_at: datetime


class DefinitionOut(BaseModel):
    """A kind of job; `args` is a JSON Schema."""

    kind: str
    queue: str
    priority: int
    max_attempts: int
    pool: Literal["coroutine", "thread", "process"]
    time_limit: float | None
    paused: bool
    args: dict[str, Any]


@router.get("/workers", tags=["workers"])
async def list_workers(milepost: App, _: ViewerOfAll) -> Sequence[WorkerOut]:
    """Show the workers that have not stopped."""
    return [
        WorkerOut(
            id=each.id, host=each.host, pid=each.pid, version=each.version, queues=each.queues,
            concurrency=each.concurrency, running=each.running, started_at=each.started_at,
            seen_at=each.seen_at,
        )
        for each in await milepost.database.query(workers.unstopped)
        if each.started_at is not None and each.seen_at is not None
    ]  # fmt: skip


@router.get("/definitions", tags=["definitions"])
async def definitions(milepost: App, _: Viewer) -> Sequence[DefinitionOut]:
    """Show the kinds of jobs that this program knows, with the JSON Schema of their args."""
    paused = await milepost.database.query(pauses.kinds)
    return [
        DefinitionOut(
            kind=each.kind, queue=each.queue, priority=each.priority,
            max_attempts=each.max_attempts, pool=each.pool,
            time_limit=each.time_limit.total_seconds() if each.time_limit else None,
            paused=each.kind in paused, args=each.args.json_schema(),
        )
        for each in milepost.registry
    ]  # fmt: skip


@router.post("/definitions/{kind}/pause", tags=["definitions"], status_code=204)
async def pause_kind(kind: KindName, milepost: App, _: OperatorOfAll) -> None:
    """Let no job of a kind begin; what runs goes on. Workers see it within a second."""
    await milepost.database.run(pauses.pause_kind, milepost.database.clock, kind)


@router.post("/definitions/{kind}/resume", tags=["definitions"], status_code=204)
async def resume_kind(kind: KindName, milepost: App, _: OperatorOfAll) -> None:
    """Let the jobs of a kind begin again."""
    await milepost.database.run(pauses.resume_kind, kind)
