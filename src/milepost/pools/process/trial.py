"""Starts one child process and ends it again, to see whether and how children start."""

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from milepost.pools.notes import Notes
from milepost.pools.process.children import ChildProcess
from milepost.pools.process.launcher import Launcher, StartMethod
from milepost.pools.process.messages import Setup
from milepost.pools.process.origins import Origin

# An import takes its time; one that hangs must not keep who asks.
WITHIN: Final = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it: how children start, why not by a fork, how long that took; or an error."""

    method: str
    why: str | None
    took: timedelta
    error: str | None


async def try_to_start(origin: Origin, start: StartMethod, database_url: str) -> Trial:
    """Start a child, and wait until it has imported the application."""
    setup = Setup(
        origin=origin, database_url=database_url, store_id="", largest_checkpoint=0,
        largest_result=0, largest_args=0, log_levels={},
    )  # fmt: skip
    began = time.monotonic()
    methods: list[tuple[str, str | None]] = [(start, None)]
    ready = asyncio.Event()
    launcher = Launcher(origin, start, on_method=lambda *told: methods.append(told))
    launcher.open()
    child = ChildProcess(
        launcher, setup, Notes(), on_free=lambda _: ready.set(), on_done=lambda *_: None
    )
    life = asyncio.create_task(child.live())
    life.add_done_callback(lambda _: ready.set())
    error = None
    try:
        async with asyncio.timeout(WITHIN):
            await ready.wait()
    except TimeoutError:
        error = f"it was not ready within {WITHIN:.0f} s"
    took = timedelta(seconds=time.monotonic() - began)
    if life.done():
        error = child.broken or str(life.exception() or "it ended before it was ready")
    launcher.close()
    await asyncio.wait([life])
    return Trial(*methods[-1], took, error)
