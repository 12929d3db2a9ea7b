"""Logging in: the token is kept in a cookie that scripts cannot read."""

from math import ceil
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from milepost.errors import TooManyLogins
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
    try:
        caller = await guard.access.log_in(token.strip(), address=address_of(request))
    except TooManyLogins as error:
        refused = page(request, None, "login.html", wrong=str(error), status=429)
        refused.headers["Retry-After"] = str(ceil(error.wait.total_seconds()))
        return refused
    if caller is None:
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
    guard_of(request).check_origin(request)
    response = RedirectResponse(where(request, "login"), status_code=303)
    response.delete_cookie(COOKIE, path=where(request, ""))
    return response
