"""`milepost worker`: takes jobs until it is told to stop."""

import asyncio
import logging
import os
import threading
from typing import Annotated

import typer

from milepost.app import Milepost
from milepost.cli import loading
from milepost.cli.exits import DONE
from milepost.cli.stopping import on_stop
from milepost.worker.process import dedicate


def worker(
    app: Annotated[
        str | None,
        typer.Argument(help="module:attribute of a Milepost [default: $MILEPOST_APP]."),
    ] = None,
) -> int:
    """Take jobs and run them until SIGTERM or Ctrl-C.

    The first signal lets running jobs save and go on elsewhere; the second waits for nobody.
    """
    loading.log_to_stderr()
    asyncio.run(_work(loading.application(app)))
    if any(not thread.daemon for thread in threading.enumerate()[1:]):
        # A handler was left behind in a write that hangs. Python would wait for it for ever.
        logging.shutdown()
        os._exit(DONE)
    return DONE


async def _work(milepost: Milepost) -> None:
    async with milepost:
        worker = milepost.worker()
        told = asyncio.Event()
        stops: list[asyncio.Task[None]] = []

        def stop() -> None:
            told.set()
            stops.append(asyncio.create_task(worker.stop()))

        dedicate()
        with on_stop(stop):
            await worker.start()
            await told.wait()
            while pending := [task for task in stops if not task.done()]:
                await asyncio.wait(pending)
