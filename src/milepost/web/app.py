"""The web application: the API, the dashboard, and whether all is well."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from milepost.access import Access
from milepost.app import Milepost
from milepost.errors import MilepostError
from milepost.store import schema
from milepost.web import (
    dashboard,
    jobs_api,
    parts_api,
    problems,
    schedules_api,
    schedules_pages,
)
from milepost.web.feed import Feed
from milepost.web.guard import Guard, Openness
from milepost.web.limits import BodyLimit, Headers
from milepost.web.pages import show_problem

API: Final = "/api/v1"
# What a request carries beside the args of a job.
ROOM: Final = 64_000

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def create_app(milepost: Milepost, *, openness: Openness = Openness()) -> FastAPI:  # noqa: B008
    """Make the ASGI application of one Milepost; it can be mounted in another application.

    Whoever makes it opens and closes the Milepost. `openness` says who gets in while the store has
    no token.
    """
    app = FastAPI(
        title="Milepost",
        version=version("milepost"),
        summary="Long jobs: submit them, watch them, steer them.",
        # The pages that FastAPI makes of it take scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{API}/openapi.json",
        lifespan=_nothing,
    )
    app.state.milepost = milepost
    app.state.guard = Guard(Access(milepost.database), openness)
    app.state.feed = Feed(milepost)
    problems.install(app, show_problem)
    app.include_router(jobs_api.router, prefix=API)
    app.include_router(parts_api.router, prefix=API)
    app.include_router(schedules_api.router, prefix=API)
    app.include_router(dashboard.router, include_in_schema=False)
    app.include_router(schedules_pages.router, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    app.add_middleware(BodyLimit, most=milepost.settings.largest_args + ROOM)

    app.add_middleware(Headers, headers=_HEADERS)

    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """Tell that the process runs."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], responses={503: {"model": dict[str, str]}})
    async def readyz() -> JSONResponse:
        """Tell whether the store and the broker answer, and what is wrong."""
        found = await check(milepost)
        well = all(said == "ok" for said in found.values())
        return JSONResponse(found, status_code=200 if well else 503)

    app.openapi_schema = None
    _describe(app)
    return app


async def check(milepost: Milepost) -> dict[str, str]:
    """Say of each part that a request needs whether it is well, or what is wrong."""
    found = {}
    try:
        standing = await milepost.database.query(schema.version)
        found["store"] = "ok"
        found["migrations"] = (
            "ok"
            if standing == schema.HEAD
            else f"the tables are of version {standing}, this program needs {schema.HEAD}: run "
            "`milepost migrate`"
        )
    except MilepostError as error:
        found["store"] = str(error)
    if milepost.link is not None:
        try:
            await milepost.database.on_thread(lambda: milepost.link and milepost.link.call("PING"))
            found["redis"] = "ok"
        except MilepostError as error:
            found["redis"] = str(error)
    return found


@asynccontextmanager
async def _nothing(_: FastAPI) -> AsyncGenerator[None, None]:
    yield


def _describe(app: FastAPI) -> None:
    """Put problems and the two ways to say who one is into the OpenAPI document."""
    original = app.openapi

    def described() -> dict[str, object]:
        if app.openapi_schema is None:
            made = original()
            parts = made.setdefault("components", {})
            parts.setdefault("schemas", {})["Problem"] = problems.Problem.model_json_schema()
            parts["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer"},
            }
            made["security"] = [{"token": []}, {}]
            for route in made["paths"].values():
                for operation in route.values():
                    # FastAPI's own shape of this error is not ours.
                    said = operation.get("responses", {}).get("422", {}).get("content", {})
                    said.pop("application/json", None)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
