"""Turns templates into pages."""

import json
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, select_autoescape
from pydantic_core import from_json

from milepost.access import Caller, Role
from milepost.jobs.states import FINAL, JobState
from milepost.web.problems import Problem

LONGEST_JSON: Final = 20_000
LONGEST_CELL: Final = 200
NOTHING: Final = "\N{EN DASH}"

_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"))


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


def spell_seconds(seconds: float | None) -> str:
    """Spell a length of time: 12 ms, 3.4 s, 5 min, 2 h 10 min."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{max(0, seconds) * 1000:.0f} ms"
    if seconds < _UNITS[-1][0]:
        return f"{seconds:.1f} s"
    rest = round(seconds)
    parts = []
    for size, name in _UNITS:
        if rest >= size:
            parts.append(f"{rest // size} {name}")
            rest %= size
    return " ".join(parts[:2])


def _ago(at: datetime | None, now: datetime) -> str:
    if at is None:
        return NOTHING
    seconds = (now - at).total_seconds()
    return f"in {spell_seconds(-seconds)}" if seconds < 0 else f"{spell_seconds(seconds)} ago"


def _between(begin: datetime | None, end: datetime | None) -> str:
    return NOTHING if begin is None or end is None else spell_seconds((end - begin).total_seconds())


def _remaining(estimate: Any) -> str:
    if estimate.remaining is None:
        return ""
    short, long = (spell_seconds(each.total_seconds()) for each in estimate.remaining)
    return f"{short} left" if short == long else f"{short} to {long} left"


def _pretty(text: str | None) -> str:
    if not text:
        return ""
    if len(text) > LONGEST_JSON:
        return text[:LONGEST_JSON] + " … (it is cut here; the API has all of it)"
    return json.dumps(from_json(text), indent=2, ensure_ascii=False)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= LONGEST_CELL else text[:LONGEST_CELL] + "…"


def _iso(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _seconds_of(time: timedelta | None) -> float | None:
    return None if time is None else time.total_seconds()


_environment = Environment(
    loader=PackageLoader("milepost.web"),
    autoescape=select_autoescape(default=True),
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(
    ago=_ago, between=_between, remaining=_remaining, pretty=_pretty, cell=_cell, iso=_iso,
    seconds=spell_seconds, seconds_of=_seconds_of,
)  # fmt: skip
_environment.globals.update(FINAL=FINAL, JobState=JobState)
