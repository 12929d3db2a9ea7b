"""`milepost worker`, `milepost web` and `milepost up`: what runs until it is told to stop."""

import asyncio
import logging
import os
import threading
from typing import Annotated, Final

import typer

from milepost.access import Access
from milepost.app import Milepost
from milepost.cli import loading
from milepost.cli.exits import DONE
from milepost.cli.stopping import on_stop
from milepost.settings import ServiceType, WebSettings
from milepost.worker.process import dedicate

AppArgument = Annotated[
    str | None,
    typer.Argument(help="module:attribute of a Milepost [default: $MILEPOST_APP]."),
]
HostOption = Annotated[str | None, typer.Option(help="Address to listen on [$MILEPOST_HOST].")]
PortOption = Annotated[
    int | None, typer.Option(help="Port to listen on [$MILEPOST_PORT].", min=0, max=65535)
]
OpenOption = Annotated[
    bool,
    typer.Option(
        "--without-authentication",
        help="Whoever reaches the port may do everything; else others need a token.",
    ),
]

_WEB: Final = ("web", "monolith")
_WORKER: Final = ("worker", "monolith")


def worker(app: AppArgument = None) -> int:
    """Take jobs and run them until SIGTERM or Ctrl-C.

    The first signal lets running jobs save and go on elsewhere; the second waits for nobody.
    """
    return _serve("worker", app, None, None, open_to_all=False)


def web(
    app: AppArgument = None,
    host: HostOption = None,
    port: PortOption = None,
    without_authentication: OpenOption = False,
) -> int:
    """Serve the HTTP API and the dashboard until SIGTERM or Ctrl-C."""
    return _serve("web", app, host, port, open_to_all=without_authentication)


def up(
    app: AppArgument = None,
    host: HostOption = None,
    port: PortOption = None,
    without_authentication: OpenOption = False,
) -> int:
    """Run everything in one process: API, dashboard and worker.

    SERVICE_TYPE=worker or web runs that part alone.
    """
    return _serve(None, app, host, port, open_to_all=without_authentication)


def _serve(
    parts: ServiceType | None,
    app: str | None,
    host: str | None,
    port: int | None,
    *,
    open_to_all: bool,
) -> int:
    loading.log_to_stderr()
    milepost = loading.application(app)
    loading.format_log(milepost.settings.telemetry)
    own = milepost.settings.web
    chosen = WebSettings(
        host=own.host if host is None else host, port=own.port if port is None else port
    )
    asyncio.run(
        _run(milepost, parts or milepost.settings.service_type, chosen, open_to_all=open_to_all)
    )
    if any(not thread.daemon for thread in threading.enumerate()[1:]):
        # A handler was left behind in a write that hangs. Python would wait for it for ever.
        logging.shutdown()
        os._exit(DONE)
    return DONE


async def _run(
    milepost: Milepost, parts: ServiceType, web: WebSettings, *, open_to_all: bool
) -> None:
    async with milepost:
        worker = milepost.worker() if parts in _WORKER else None
        told = asyncio.Event()
        stops: list[asyncio.Task[None]] = []

        def stop() -> None:
            told.set()
            if worker is not None:
                stops.append(asyncio.create_task(worker.stop()))

        dedicate()
        with on_stop(stop):
            server = scrapes = None
            telemetry = milepost.settings.telemetry
            if worker is not None and telemetry.metrics_port:
                from milepost.telemetry.scraping import ScrapePort

                scrapes = ScrapePort(
                    milepost.metrics, Access(milepost.database),
                    host=telemetry.metrics_host, port=telemetry.metrics_port,
                )  # fmt: skip
                await scrapes.start()
            if parts in _WEB:
                from milepost.web import Server

                server = Server(
                    milepost, host=web.host, port=web.port, without_authentication=open_to_all
                )
                await server.start()
                typer.echo(f"Milepost is on {server.url}")
            try:
                if worker is not None:
                    await worker.start()
                await told.wait()
                while pending := [task for task in stops if not task.done()]:
                    await asyncio.wait(pending)
                if worker is not None:
                    # Told while it still started, it had nothing to stop yet.
                    await worker.stop()
            finally:
                # Last, so that people see what becomes of the jobs.
                if server is not None:
                    await server.stop()
                if scrapes is not None:
                    await scrapes.stop()
