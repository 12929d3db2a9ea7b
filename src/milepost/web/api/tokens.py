"""Tokens over HTTP: each is shown once."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from milepost.access import Access, Role
from milepost.errors import ConfigurationError
from milepost.jobs.leases import LARGEST_ID
from milepost.web.api.fields import Body
from milepost.web.dependencies import App
from milepost.web.guard import Admin
from milepost.web.problems import Refused, documented

TokenNumber = Annotated[int, Path(ge=1, le=LARGEST_ID)]

router = APIRouter(tags=["tokens"], responses=documented(401, 403, 422, 503))


class TokenOut(BaseModel):
    """What is known of a token; itself it is shown once, when it is made."""

    id: int
    name: str
    role: Role
    owner: str | None
    created_at: datetime
    revoked_at: datetime | None


class TokenOrder(Body):
    """Whom a token is for, and what he may do."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    role: Role
    owner: Annotated[str, Field(min_length=1, max_length=100)] | None = None


class TokenMade(BaseModel):
    """A new token, shown this once."""

    id: int
    token: str


@router.get("/tokens")
async def tokens(milepost: App, _: Admin) -> Sequence[TokenOut]:
    """Show the tokens, those that were revoked too."""
    return [
        TokenOut(
            id=each.id, name=each.name, role=Role(each.role), owner=each.owner,
            created_at=each.created_at, revoked_at=each.revoked_at,
        )
        for each in await Access(milepost.database).listed()
    ]  # fmt: skip


@router.post("/tokens", status_code=201)
async def make_token(order: TokenOrder, milepost: App, _: Admin) -> TokenMade:
    """Make a token."""
    token_id, token = await Access(milepost.database).create(
        order.name, order.role, owner=order.owner
    )
    return TokenMade(id=token_id, token=token)


@router.delete("/tokens/{token_id}", status_code=204, responses=documented(404))
async def revoke_token(token_id: TokenNumber, milepost: App, _: Admin) -> None:
    """Let a token open nothing from now on."""
    try:
        await Access(milepost.database).revoke(token_id)
    except ConfigurationError as error:
        raise Refused(404, "No such token", str(error)) from None
