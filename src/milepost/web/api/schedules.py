"""Schedules over HTTP: what is submitted again and again, and when."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from milepost.access import Caller
from milepost.app import Milepost
from milepost.errors import ScheduleInvalid, ScheduleNotFound
from milepost.jobs.rules import LONGEST_EXPRESSION, Cron, Every, Rule
from milepost.jobs.schedules import (
    LONGEST_JITTER,
    MOST_CAUGHT_UP,
    CatchUp,
    Overlap,
    Schedule,
)
from milepost.jobs.states import JobState
from milepost.schedules import LONGEST_SCHEDULE_NAME, describe
from milepost.store import jobs
from milepost.store.schedules import ScheduleView
from milepost.web.api.fields import NO_NUL, Body, Name, Priority, QueueName, Seconds
from milepost.web.api.submitting import Submitted
from milepost.web.dependencies import App
from milepost.web.guard import Operator, Viewer
from milepost.web.problems import Refused, documented

router = APIRouter(tags=["schedules"], responses=documented(401, 403, 422, 503))

ScheduleName = Annotated[str, Path(min_length=1, max_length=LONGEST_SCHEDULE_NAME, pattern=NO_NUL)]


class MomentOut(BaseModel):
    """A moment, in UTC and as the clock of its schedule shows it."""

    at: datetime
    local: str


class ScheduleOut(BaseModel):
    """A schedule; times in seconds. Of `cron` and `every` one is given.

    `missed` counts the moments that did not fire in time. `overdue`: it should have fired, and no
    worker knows its kind. `problem`: why the web process does not know its next moments.
    """

    name: str
    kind: str
    args: Any
    cron: str | None
    every: float | None
    timezone: str
    queue: str | None
    priority: int | None
    owner: str | None
    catch_up: CatchUp
    catch_up_limit: int
    jitter: float
    overlap: Overlap
    declared: bool
    paused_at: datetime | None
    next: Sequence[MomentOut]
    last_fire_at: datetime | None
    last_job_id: int | None
    last_state: JobState | None
    missed: int
    missed_at: datetime | None
    overdue: bool
    problem: str | None


class FireOut(BaseModel):
    """A moment and its job; of one that was skipped the earlier job, which had not ended."""

    moment: datetime
    job_id: int
    skipped: bool
    fired_at: datetime


class ScheduleWhole(ScheduleOut):
    """A schedule with the last moments that it has seen to, the newest first."""

    fires: Sequence[FireOut]


class ScheduleOrder(Body):
    """A schedule to be added: `cron` with a `timezone`, or `every` so many seconds."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_SCHEDULE_NAME, pattern=NO_NUL)]
    kind: Name
    args: Any = Field(None, description="as the definition says; null: their defaults")
    cron: Annotated[str, Field(max_length=LONGEST_EXPRESSION)] | None = None
    timezone: Annotated[str, Field(max_length=100)] | None = None
    every: Seconds | None = None
    queue: QueueName | None = None
    priority: Priority | None = None
    owner: Name | None = None
    catch_up: CatchUp = "once"
    catch_up_limit: Annotated[int, Field(ge=1, le=MOST_CAUGHT_UP)] = 100
    jitter: Annotated[float, Field(ge=0, le=LONGEST_JITTER.total_seconds())] = 0
    overlap: Overlap = "skip"
    replace: bool = Field(default=False, description="change the one of that name")


@router.get("/schedules")
async def list_schedules(milepost: App, caller: Viewer) -> Sequence[ScheduleOut]:
    """List schedules by name."""
    found = await milepost.schedules.listed(owner=caller.owner)
    return [ScheduleOut(**describe(each)) for each in found]


@router.post("/schedules", status_code=201, responses=documented(409, 413))
async def add_schedule(
    order: ScheduleOrder, request: Request, response: Response, milepost: App, caller: Operator
) -> ScheduleOut:
    """Add a schedule; its args are checked against the definition of its kind."""
    if caller.owner is not None and order.owner not in (None, caller.owner):
        raise Refused(403, "Not allowed", f"{caller.name!r} schedules for {caller.owner!r} alone")
    schedule = Schedule(
        _rule(order), queue=order.queue, priority=order.priority,
        owner=caller.owner or order.owner, catch_up=order.catch_up,
        catch_up_limit=order.catch_up_limit, jitter=timedelta(seconds=order.jitter),
        overlap=order.overlap,
    )  # fmt: skip
    view = await milepost.schedules.add_json(
        order.name, order.kind, None if order.args is None else json.dumps(order.args), schedule,
        replace=order.replace, of_owner=caller.owner,
    )  # fmt: skip
    response.headers["Location"] = request.url_for("show_schedule", name=view.name).path
    return ScheduleOut(**describe(view))


@router.get("/schedules/{name}", responses=documented(404))
async def show_schedule(
    name: ScheduleName,
    milepost: App,
    caller: Viewer,
    count: Annotated[int, Query(alias="next", ge=1, le=20, description="so many fires")] = 5,
) -> ScheduleWhole:
    """Show one schedule: its next fires and its last ones."""
    view = await own_schedule(milepost, caller, name)
    fires = await milepost.schedules.fires_of(name, limit=20)
    return ScheduleWhole(
        **describe(view, count=count),
        fires=[
            FireOut(
                moment=each.moment, job_id=each.job_id, skipped=each.skipped,
                fired_at=each.fired_at,
            )
            for each in fires
        ],
    )  # fmt: skip


@router.post("/schedules/{name}/pause", status_code=204, responses=documented(404))
async def pause_schedule(name: ScheduleName, milepost: App, caller: Operator) -> None:
    """Let a schedule fire no more; what it has submitted runs."""
    await own_schedule(milepost, caller, name)
    await milepost.schedules.pause(name)


@router.post("/schedules/{name}/resume", status_code=204, responses=documented(404))
async def resume_schedule(name: ScheduleName, milepost: App, caller: Operator) -> None:
    """Let a schedule fire again, from its next moment on."""
    await own_schedule(milepost, caller, name)
    await milepost.schedules.resume(name)


@router.post("/schedules/{name}/run-now", status_code=201, responses=documented(404))
async def run_schedule(name: ScheduleName, milepost: App, caller: Operator) -> Submitted:
    """Submit a job as the schedule would, at once; its own moments stay as they are."""
    await own_schedule(milepost, caller, name)
    made = await milepost.schedules.run_now(name)
    state = await milepost.database.query(jobs.state_of, made.job_id)
    return Submitted(id=made.job_id, state=state, existed=made.existed)


@router.delete("/schedules/{name}", status_code=204, responses=documented(404))
async def remove_schedule(name: ScheduleName, milepost: App, caller: Operator) -> None:
    """Forget a schedule; its jobs stay. One that code declares comes back with its workers."""
    await own_schedule(milepost, caller, name)
    await milepost.schedules.remove(name)


async def own_schedule(milepost: Milepost, caller: Caller, name: str) -> ScheduleView:
    """Find a schedule that is the caller's to see. Raises ScheduleNotFound."""
    view = await milepost.schedules.find(name)
    if caller.owner is not None and view.owner != caller.owner:
        raise ScheduleNotFound(name)
    return view


def _rule(order: ScheduleOrder) -> Rule:
    if (order.cron is None) == (order.every is None):
        raise ScheduleInvalid("give cron or every: one of them")
    if order.cron is not None:
        return Cron(order.cron, order.timezone or "UTC")
    if order.timezone is not None:
        raise ScheduleInvalid("timezone goes with cron: an interval is the same everywhere")
    return Every(seconds=order.every or 0)
