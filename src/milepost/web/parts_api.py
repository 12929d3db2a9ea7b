"""All around jobs over HTTP: queues, workers, definitions, connections, snapshots, tokens."""

import asyncio
import json
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel

from milepost.access import Access, Role
from milepost.app import Milepost
from milepost.connectors import Secrets
from milepost.downloads.looking import rows_of, tables_of
from milepost.downloads.named import NamedSnapshot
from milepost.errors import ConfigurationError
from milepost.jobs.definition import KIND
from milepost.store import limits, overview, pauses, workers
from milepost.store.limits import QueueLimits
from milepost.web import models
from milepost.web.guard import Admin, OperatorOfAll, Viewer, ViewerOfAll
from milepost.web.jobs_api import App
from milepost.web.problems import Refused, documented

router = APIRouter(responses=documented(401, 403, 422, 503))

SnapshotName = Annotated[str, Path(max_length=100)]
QueueName = Annotated[str, Path(min_length=1, max_length=200, pattern=models.NO_NUL)]
KindName = Annotated[str, Path(pattern=f"^{KIND.pattern}$")]
TableName = Annotated[str, Path(max_length=1000)]


@router.get("/overview", tags=["overview"])
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


@router.get("/failures", tags=["overview"])
async def failures(milepost: App, caller: Viewer) -> Sequence[overview.Failures]:
    """Group the newest thousand failed jobs by their error, the largest group first."""
    return await milepost.database.query(overview.failures, owner=caller.owner)


@router.get("/queues", tags=["queues"])
async def queues(milepost: App, _: ViewerOfAll) -> Sequence[models.QueueOut]:
    """Show the queues that hold something that has not ended, or are paused, or have limits."""
    return [
        models.QueueOut(
            name=each.name, scheduled=each.scheduled, available=each.available,
            running=each.running, oldest=each.oldest, paused=each.paused,
            limits=_limits(each.limits),
        )
        for each in await milepost.database.query(overview.queues)
    ]  # fmt: skip


@router.post("/queues/{queue}/pause", tags=["queues"], status_code=204)
async def pause(queue: QueueName, milepost: App, _: OperatorOfAll) -> None:
    """Let no job of a queue begin; what runs goes on. Workers see it within a second."""
    await milepost.database.run(pauses.pause, milepost.database.clock, queue)


@router.post("/queues/{queue}/resume", tags=["queues"], status_code=204)
async def resume(queue: QueueName, milepost: App, _: OperatorOfAll) -> None:
    """Let the jobs of a queue begin again."""
    await milepost.database.run(pauses.resume, queue)


@router.put("/queues/{queue}/limits", tags=["queues"])
async def limit(
    queue: QueueName, order: models.QueueLimitsIn, milepost: App, _: OperatorOfAll
) -> models.QueueLimitsOut:
    """Give a queue limits, in all workers together, instead of those that it had."""
    if (order.rate is None) is not (order.per is None):
        raise Refused(422, "Request does not fit", "rate and per go together")
    per = None if order.per is None else timedelta(seconds=order.per)
    given = QueueLimits(order.concurrency, order.rate, per, order.length)
    await milepost.database.run(limits.set_limits, queue, given)
    return _limits(given)


def _limits(given: QueueLimits) -> models.QueueLimitsOut:
    return models.QueueLimitsOut(
        concurrency=given.concurrency, rate=given.rate,
        per=None if given.per is None else given.per.total_seconds(), length=given.length,
    )  # fmt: skip


@router.get("/workers", tags=["workers"])
async def list_workers(milepost: App, _: ViewerOfAll) -> Sequence[models.WorkerOut]:
    """Show the workers that have not stopped."""
    return [
        models.WorkerOut(
            id=each.id, host=each.host, pid=each.pid, version=each.version, queues=each.queues,
            concurrency=each.concurrency, running=each.running, started_at=each.started_at,
            seen_at=each.seen_at,
        )
        for each in await milepost.database.query(workers.unstopped)
        if each.started_at is not None and each.seen_at is not None
    ]  # fmt: skip


@router.get("/definitions", tags=["definitions"])
async def definitions(milepost: App, _: Viewer) -> Sequence[models.DefinitionOut]:
    """Show the kinds of jobs that this program knows, with the JSON Schema of their args."""
    paused = await milepost.database.query(pauses.kinds)
    return [
        models.DefinitionOut(
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


@router.get("/connections", tags=["connections"])
async def connections(milepost: App, _: ViewerOfAll) -> Sequence[models.ConnectionOut]:
    """Show the stored connections, without what they keep secret."""
    return [
        models.ConnectionOut(
            name=each.name, kind=each.source.kind if each.source else None, problem=each.problem,
            encrypted=each.encrypted, created_at=each.created_at, updated_at=each.updated_at,
        )
        for each in await milepost.connections.listed()
    ]  # fmt: skip


@router.get("/snapshots", tags=["snapshots"])
async def list_snapshots(milepost: App, _: ViewerOfAll) -> Sequence[models.SnapshotOut]:
    """Show the snapshots by their names."""
    return [_snapshot(each) for each in await milepost.snapshots.listed()]


@router.get("/snapshots/{name}/tables", tags=["snapshots"], responses=documented(404, 409))
async def list_tables(
    name: SnapshotName, milepost: App, _: ViewerOfAll
) -> Sequence[models.TableOut]:
    """Show the tables that a snapshot has by now."""
    named = await snapshot_named(milepost, name)
    return [
        models.TableOut(
            name=each.name, rows=each.rows, deleted=each.deleted,
            columns={column.field: column.kind for column in each.columns},
        )
        for each in await asyncio.to_thread(tables_of, named, Secrets(os.environ))
    ]  # fmt: skip


@router.get(
    "/snapshots/{name}/tables/{table}/rows",
    tags=["snapshots"],
    responses={200: {"model": list[dict[str, Any]]}, **documented(404, 409)},
)
async def list_rows(
    name: SnapshotName,
    table: TableName,
    milepost: App,
    _: ViewerOfAll,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    deleted: Annotated[bool, Query()] = False,  # noqa: FBT002 (a part of the address)
) -> Response:
    """Show the first rows of a table, as the records they were written from."""
    named = await snapshot_named(milepost, name)
    rows = await asyncio.to_thread(
        rows_of, named, Secrets(os.environ), table, limit=limit, deleted=deleted
    )
    # A record may hold numbers that JSON lacks: they are null here.
    return Response(spelled(rows), media_type="application/json")


@router.post("/snapshots/{name}/sync", tags=["snapshots"], responses=documented(404, 409, 502))
async def sync(
    name: SnapshotName, order: models.SyncOrder, milepost: App, _: OperatorOfAll
) -> dict[str, models.Submitted]:
    """Submit the jobs that sync a snapshot, one for each table."""
    await snapshot_named(milepost, name)
    handles = await milepost.sync(
        name, tables=order.tables, anew=order.anew, allow_mass_deletion=order.allow_mass_deletion
    )
    return {
        table: models.Submitted(
            id=handle.job_id, state=(await handle.view()).state, existed=handle.existed
        )
        for table, handle in handles.items()
    }


class TokenOut(BaseModel):
    """What is known of a token; itself it is shown once, when it is made."""

    id: int
    name: str
    role: Role
    owner: str | None
    created_at: datetime
    revoked_at: datetime | None


class TokenOrder(models.Body):
    """Whom a token is for, and what he may do."""

    name: Annotated[str, models.Field(min_length=1, max_length=100)]
    role: Role
    owner: Annotated[str, models.Field(min_length=1, max_length=100)] | None = None


class TokenMade(BaseModel):
    """A new token, shown this once."""

    id: int
    token: str


@router.get("/tokens", tags=["tokens"])
async def tokens(milepost: App, _: Admin) -> Sequence[TokenOut]:
    """Show the tokens, those that were revoked too."""
    return [
        TokenOut(
            id=each.id, name=each.name, role=Role(each.role), owner=each.owner,
            created_at=each.created_at, revoked_at=each.revoked_at,
        )
        for each in await Access(milepost.database).listed()
    ]  # fmt: skip


@router.post("/tokens", tags=["tokens"], status_code=201)
async def make_token(order: TokenOrder, milepost: App, _: Admin) -> TokenMade:
    """Make a token."""
    token_id, token = await Access(milepost.database).create(
        order.name, order.role, owner=order.owner
    )
    return TokenMade(id=token_id, token=token)


@router.delete("/tokens/{token_id}", tags=["tokens"], status_code=204, responses=documented(404))
async def revoke_token(token_id: models.JobNumber, milepost: App, _: Admin) -> None:
    """Let a token open nothing from now on."""
    try:
        await Access(milepost.database).revoke(token_id)
    except ConfigurationError as error:
        raise Refused(404, "No such token", str(error)) from None


def spelled(rows: Sequence[dict[str, Any]]) -> str:
    """Spell rows as JSON; NaN and infinities, which it lacks, as null."""
    return json.dumps(_finite(rows), default=str, ensure_ascii=True)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def _snapshot(named: NamedSnapshot) -> models.SnapshotOut:
    return models.SnapshotOut(
        name=named.name, source=named.described.source.kind, into=named.described.into,
        tables=sorted(named.described.tables), created_at=named.created_at,
        updated_at=named.updated_at,
    )  # fmt: skip


async def snapshot_named(milepost: Milepost, name: str) -> NamedSnapshot:
    """Find a snapshot. Raises Refused where there is none."""
    try:
        return await milepost.snapshots.find(name)
    except ConfigurationError as error:
        raise Refused(404, "No such snapshot", str(error)) from None
