"""Turns templates into pages."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, select_autoescape

from milepost.access import Caller, Role
from milepost.jobs.states import FINAL, JobState
from milepost.web.dashboard.spelling import FILTERS
from milepost.web.problems import Problem


def page(
    request: Request, caller: Caller | None, template: str, *, status: int = 200, **values: Any
) -> HTMLResponse:
    """Make a page, or only what is in it where the script asks for that."""
    made = _environment.get_template(template).render(
        base=where(request, ""),
        path=request.url.path.removeprefix(where(request, "")),
        here=str(request.url.path) + (f"?{request.url.query}" if request.url.query else ""),
        caller=caller,
        may_steer=caller is not None and caller.role.may(Role.OPERATOR),
        logged_in=bool(request.cookies.get("milepost_token")),
        told=request.query_params.get("told"),
        frame="inner.html" if request.headers.get("hx-request") else "frame.html",
        now=datetime.now(UTC),
        **values,
    )
    return HTMLResponse(made, status_code=status, headers={"Cache-Control": "no-store"})


def show_problem(request: Request, problem: Problem) -> Response | None:
    """Make a page of a problem, for a browser that asked for a page."""
    if "text/html" not in request.headers.get("accept", ""):
        return None
    if problem.status == HTTPStatus.UNAUTHORIZED and request.method == "GET":
        return RedirectResponse(where(request, "login"), status_code=303)
    return page(request, None, "problem.html", status=problem.status, problem=problem)


def where(request: Request, path: str) -> str:
    """Say where a page of ours is, also where the application is mounted in another."""
    return f"{request.scope.get('root_path', '').rstrip('/')}/{path}"


def back_to(request: Request, path: str, told: str) -> RedirectResponse:
    """Lead to a page that says what was done."""
    path += ("&" if "?" in path else "?") + urlencode({"told": told[:500]})
    return RedirectResponse(where(request, path), status_code=303)


_environment = Environment(
    loader=PackageLoader("milepost.web"),
    autoescape=select_autoescape(default=True),
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(FILTERS)
_environment.globals.update(FINAL=FINAL, JobState=JobState)
