"""Follows one job to its end, on the screen."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from milepost.cli.display import Display
from milepost.cli.output import Output
from milepost.handles import JobHandle
from milepost.jobs.states import FINAL
from milepost.store.logs import LogLine
from milepost.store.reading import JobView

LOOK_EVERY: Final = timedelta(seconds=0.5)


class LogTail:
    """What a job has logged since the last look."""

    def __init__(self, handle: JobHandle[Any]) -> None:
        self._handle = handle
        self._last = 0

    async def read(self) -> list[LogLine]:
        """Read the new lines, the oldest first."""
        lines = await self._handle.logs(after=self._last)
        if lines:
            self._last = lines[-1].id or self._last
        return lines


async def follow(
    handle: JobHandle[Any], output: Output, *, until: asyncio.Event | None = None
) -> JobView:
    """Show a job's progress and what it logs, until it is final or `until` is set."""
    [view] = await follow_all([handle], output, until=until)
    return view


async def follow_all(
    handles: Sequence[JobHandle[Any]], output: Output, *, until: asyncio.Event | None = None
) -> list[JobView]:
    """Follow several jobs at once, until all are final or `until` is set."""
    with Display(output) as display:
        return list(
            await asyncio.gather(*(_follow(each, display, until=until) for each in handles))
        )


async def _follow(
    handle: JobHandle[Any], display: Display, *, until: asyncio.Event | None
) -> JobView:
    tail = LogTail(handle)

    async def remark() -> None:
        for line in await tail.read():
            if line.level in ("warning", "error"):
                display.remark(line)

    async def listen() -> None:
        # By a clock of its own: a log line changes nothing in the job's row.
        while True:
            await remark()
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def watch() -> None:
        views = handle.watch(at_least_every=LOOK_EVERY)
        async with contextlib.aclosing(views):
            async for view in views:
                display.show(view, await handle.estimate())
                if view.state in FINAL:
                    return

    tasks = [
        asyncio.ensure_future(listen()),
        asyncio.ensure_future(watch()),
        asyncio.ensure_future((until or asyncio.Event()).wait()),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    await remark()
    view = await handle.view()
    display.show(view, await handle.estimate())
    return view
