"""Follows one job to its end, on the screen."""

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

from milepost.cli.display import Display
from milepost.cli.output import Output
from milepost.handles import JobHandle
from milepost.jobs.states import FINAL
from milepost.store.reading import JobView


async def follow(
    handle: JobHandle[Any], output: Output, *, until: asyncio.Event | None = None
) -> JobView:
    """Show a job's progress and what it logs, until it is final or `until` is set."""
    with Display(output) as display:
        shown = 0

        async def show(view: JobView) -> None:
            nonlocal shown
            for line in await handle.logs(after=shown):
                shown = line.id or shown
                if line.level in ("warning", "error"):
                    display.remark(line.message)
            display.show(view, await handle.estimate())

        async def watch() -> JobView:
            views = handle.watch(at_least_every=timedelta(seconds=0.5))
            async with contextlib.aclosing(views):
                async for view in views:
                    await show(view)
                    if view.state in FINAL:
                        return view
            raise AssertionError("watch ends with a final state")

        watching = asyncio.ensure_future(watch())
        ending = asyncio.ensure_future((until or asyncio.Event()).wait())
        try:
            await asyncio.wait([watching, ending], return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                return watching.result()
            view = await handle.view()
            await show(view)
            return view
        finally:
            for task in (watching, ending):
                task.cancel()
            await asyncio.wait([watching, ending])
