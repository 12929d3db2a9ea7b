"""Connections over HTTP: their secrets come in and never go out."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import BaseModel, Field, SecretStr, StringConstraints

from milepost.app import Milepost
from milepost.connections import Listed
from milepost.connectors import Source, check_source
from milepost.errors import ConnectionExists, FatalConnectorError
from milepost.web.api.fields import Body
from milepost.web.dependencies import App
from milepost.web.guard import Admin, ViewerOfAll
from milepost.web.problems import Refused, documented

logger = logging.getLogger("milepost.web")

router = APIRouter(tags=["connections"], responses=documented(401, 403, 422, 503))

LARGEST_SECRET: Final = 64_000
ConnectionName = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=LARGEST_SECRET)]


class ConnectionOut(BaseModel):
    """A stored source, without its secrets. `problem`: why it cannot be read."""

    name: str
    kind: str | None
    problem: str | None
    encrypted: bool
    created_at: datetime
    updated_at: datetime


class Described(Body):
    """A source, and the values behind some of its `$NAME`s, which are encrypted at once.

    A `$NAME` without a value here is a variable of the environment of whoever reads the source.
    """

    source: dict[str, Any] = Field(description="as in `download-records`: its kind and fields")
    credentials: Annotated[dict[str, Secret], Field(max_length=100)] = Field(
        {}, description="never shown again", json_schema_extra={"writeOnly": True}
    )


class ConnectionOrder(Described):
    """A source to be stored under a name."""

    name: ConnectionName


@router.get("/connections")
async def list_connections(milepost: App, _: ViewerOfAll) -> Sequence[ConnectionOut]:
    """Show the stored connections, without what they keep secret."""
    return [_shown(each) for each in await milepost.connections.listed()]


@router.post("/connections", status_code=201, responses=documented(409))
async def add_connection(order: ConnectionOrder, milepost: App, _: Admin) -> ConnectionOut:
    """Store a source under a name that is free."""
    try:
        return await _store(milepost, order.name, order, replace=False)
    except ConnectionExists:
        raise Refused(
            409, "Name is taken",
            f"there is a connection {order.name!r} already: PUT puts another in its place",
        ) from None  # fmt: skip


@router.put("/connections/{name}", responses=documented(404, 409))
async def replace_connection(
    name: ConnectionName, order: Described, milepost: App, _: Admin
) -> ConnectionOut:
    """Put another source in the place of one; the credentials before are forgotten."""
    await _find(milepost, name)
    return await _store(milepost, name, order, replace=True)


@router.delete("/connections/{name}", status_code=204, responses=documented(404))
async def forget_connection(name: ConnectionName, milepost: App, _: Admin) -> None:
    """Forget a connection and its credentials."""
    try:
        await milepost.connections.remove(name)
    except FatalConnectorError as error:
        raise _unknown(error) from None


async def _store(
    milepost: Milepost, name: str, order: Described, *, replace: bool
) -> ConnectionOut:
    source = _checked(order.source)
    credentials = {each: value.get_secret_value() for each, value in order.credentials.items()}
    if credentials and (made := await milepost.connections.ensure_key()) is not None:
        logger.warning("a key for stored credentials was made: %s; keep a copy of it", made)
    await milepost.connections.add(name, source, credentials, replace=replace)
    return await _find(milepost, name)


def _checked(source: Mapping[str, Any]) -> Source:
    try:
        return check_source(source)
    except FatalConnectorError as error:
        raise Refused(422, "Source does not fit", str(error)) from None


async def _find(milepost: Milepost, name: str) -> ConnectionOut:
    try:
        return _shown(await milepost.connections.look(name))
    except FatalConnectorError as error:
        raise _unknown(error) from None


def _unknown(error: FatalConnectorError) -> Refused:
    return Refused(404, "No such connection", str(error))


def _shown(listed: Listed) -> ConnectionOut:
    return ConnectionOut(
        name=listed.name, kind=listed.source.kind if listed.source else None,
        problem=listed.problem, encrypted=listed.encrypted, created_at=listed.created_at,
        updated_at=listed.updated_at,
    )  # fmt: skip
