"""Connections over HTTP: their secrets come in and never go out."""

from collections.abc import Sequence
from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from milepost.web.dependencies import App
from milepost.web.guard import ViewerOfAll
from milepost.web.problems import documented

router = APIRouter(tags=["connections"], responses=documented(401, 403, 422, 503))


class ConnectionOut(BaseModel):
    """A stored source, without its secrets. `problem`: why it cannot be read."""

    name: str
    kind: str | None
    problem: str | None
    encrypted: bool
    created_at: datetime
    updated_at: datetime


@router.get("/connections")
async def connections(milepost: App, _: ViewerOfAll) -> Sequence[ConnectionOut]:
    """Show the stored connections, without what they keep secret."""
    return [
        ConnectionOut(
            name=each.name, kind=each.source.kind if each.source else None, problem=each.problem,
            encrypted=each.encrypted, created_at=each.created_at, updated_at=each.updated_at,
        )
        for each in await milepost.connections.listed()
    ]  # fmt: skip
