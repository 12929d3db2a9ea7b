"""Snapshots over HTTP: what they mirror, their rows, syncing."""

import asyncio
import json
import os
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from milepost.connectors import Secrets
from milepost.downloads.looking import rows_of, tables_of
from milepost.downloads.named import NamedSnapshot
from milepost.web.api.fields import Body, Name
from milepost.web.api.submitting import Submitted
from milepost.web.dependencies import App, snapshot_named
from milepost.web.guard import OperatorOfAll, ViewerOfAll
from milepost.web.problems import documented

router = APIRouter(tags=["snapshots"], responses=documented(401, 403, 422, 503))

SnapshotName = Annotated[str, Path(max_length=100)]
TableName = Annotated[str, Query(max_length=1000, description="a table's name, whatever it is")]


class SnapshotOut(BaseModel):
    """A snapshot: what it mirrors and where. No tables: all that the source has."""

    name: str
    source: str
    into: str
    tables: Sequence[str]
    created_at: datetime
    updated_at: datetime


class TableOut(BaseModel):
    """One table of a snapshot; `rows` counts those marked as deleted too."""

    name: str
    rows: int
    deleted: int
    columns: dict[str, str]


class SyncOrder(Body):
    """Which tables to sync; none: all. `anew`: all of a source that could give what is new."""

    tables: Annotated[Sequence[Name], Field(max_length=1000)] = ()
    anew: bool = False
    allow_mass_deletion: bool = False


@router.get("/snapshots")
async def list_snapshots(milepost: App, _: ViewerOfAll) -> Sequence[SnapshotOut]:
    """Show the snapshots by their names."""
    return [_snapshot(each) for each in await milepost.snapshots.listed()]


@router.get("/snapshots/{name}/tables", responses=documented(404, 409))
async def list_tables(name: SnapshotName, milepost: App, _: ViewerOfAll) -> Sequence[TableOut]:
    """Show the tables that a snapshot has by now."""
    named = await snapshot_named(milepost, name)
    return [
        TableOut(
            name=each.name, rows=each.rows, deleted=each.deleted,
            columns={column.field: column.kind for column in each.columns},
        )
        for each in await asyncio.to_thread(tables_of, named, Secrets(os.environ))
    ]  # fmt: skip


@router.get(
    "/snapshots/{name}/rows",
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


@router.post("/snapshots/{name}/sync", responses=documented(404, 409, 502))
async def sync(
    name: SnapshotName, order: SyncOrder, milepost: App, _: OperatorOfAll
) -> dict[str, Submitted]:
    """Submit the jobs that sync a snapshot, one for each table."""
    await snapshot_named(milepost, name)
    handles = await milepost.sync(
        name, tables=order.tables, anew=order.anew, allow_mass_deletion=order.allow_mass_deletion
    )
    return {
        table: Submitted(
            id=handle.job_id, state=(await handle.view()).state, existed=handle.existed
        )
        for table, handle in handles.items()
    }


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


def _snapshot(named: NamedSnapshot) -> SnapshotOut:
    return SnapshotOut(
        name=named.name, source=named.described.source.kind, into=named.described.into,
        tables=sorted(named.described.tables), created_at=named.created_at,
        updated_at=named.updated_at,
    )  # fmt: skip
