"""Logging in: the token is kept in a cookie that scripts cannot read."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from milepost.web.dashboard.pages import page, where
from milepost.web.guard import COOKIE, address_of, guard_of

router = APIRouter()


@router.get("/login")
async def show_login(request: Request) -> HTMLResponse:
    return page(request, None, "login.html", wrong=None)


@router.post("/login")
async def login(request: Request, token: Annotated[str, Form(max_length=500)]) -> Response:
    guard = guard_of(request)
    guard.check_origin(request)
    address = address_of(request)
    guard.attempts.check(address)
    if await guard.access.caller(token.strip()) is None:
        guard.attempts.failed(address)
        wrong = "This token opens nothing: it is none, or it was revoked."
        return page(request, None, "login.html", wrong=wrong, status=401)
    response = RedirectResponse(where(request, ""), status_code=303)
    response.set_cookie(
        COOKIE, token.strip(), httponly=True, samesite="strict",
        secure=request.url.scheme == "https", path=where(request, ""), max_age=30 * 24 * 3600,
    )  # fmt: skip
    return response


@router.post("/logout")
async def logout(request: Request) -> RedirectResponse:
    response = RedirectResponse(where(request, "login"), status_code=303)
    response.delete_cookie(COOKIE, path=where(request, ""))
    return response
