"""The web application: the API, the dashboard, and whether all is well."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from milepost.access import Access
from milepost.app import Milepost
from milepost.errors import ConfigurationError, MilepostError
from milepost.store import schema
from milepost.web import problems
from milepost.web.api.document import describe
from milepost.web.api.routers import ROUTERS
from milepost.web.dashboard import routers as pages
from milepost.web.dashboard.pages import show_problem
from milepost.web.feed import Feed
from milepost.web.guard import Guard, Openness, ViewerOfAll
from milepost.web.limits import BodyLimit, Headers
from milepost.web.problems import Refused

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
    with contextlib.suppress(ConfigurationError):
        # From now on events are counted, and not from the first time that somebody reads them.
        _ = milepost.metrics
    problems.install(app, show_problem)
    for router in ROUTERS:
        app.include_router(router, prefix=API)
    for router in pages.ROUTERS:
        app.include_router(router, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    app.add_middleware(BodyLimit, most=milepost.settings.largest_args + ROOM)

    app.add_middleware(Headers, headers=_HEADERS)

    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """Tell that the process runs."""
        return {"status": "ok"}

    @app.get(
        "/readyz",
        tags=["health"],
        response_model=dict[str, str],
        responses={503: {"model": dict[str, str]}},
    )
    async def readyz() -> JSONResponse:
        """Tell whether the store and the broker answer, and what is wrong."""
        found = await check(milepost)
        well = all(said == "ok" for said in found.values())
        return JSONResponse(found, status_code=200 if well else 503)

    @app.get("/metrics", include_in_schema=False)
    async def metrics(_: ViewerOfAll) -> Response:
        """Tell Prometheus what happened in this process, and how the queues stand."""
        try:
            found = milepost.metrics
        except ConfigurationError as error:
            raise Refused(501, "No metrics", str(error)) from None
        text = await asyncio.to_thread(found.text)
        return Response(text, media_type=found.content_type)

    describe(app)
    return app


async def check(milepost: Milepost) -> dict[str, str]:
    """Say of each part that a request needs whether it is well, or what is wrong."""
    found = {}
    try:
        wrong = await milepost.database.query(schema.misfit)
        found["store"] = "ok"
        found["migrations"] = str(wrong or "ok")
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
