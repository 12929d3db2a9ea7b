"""Work that burns CPU and may crash, in a child process with limits.

python examples/isolated.py
"""

import asyncio
import os
from dataclasses import dataclass
from datetime import timedelta

from milepost import JobFailed, Milepost, Settings, SyncJobContext, job


@dataclass(frozen=True)
class Render:
    pages: int
    crash_at: int | None = None


@dataclass(frozen=True)
class Rendered:
    page: int = 0


@job(
    "render-report",
    pool="process",
    time_limit=timedelta(minutes=10),
    cpu_limit=timedelta(minutes=5),
    silence_limit=timedelta(minutes=1),
    memory_limit=1_000_000_000,
)
def render_report(ctx: SyncJobContext[Rendered], args: Render) -> int:
    for page in range(ctx.checkpoint.page + 1, args.pages + 1):
        if page == args.crash_at:
            os.abort()  # as a library written in C may
        sum(number * number for number in range(50_000))
        ctx.save(Rendered(page))
    return ctx.checkpoint.page


# At the top level: child processes import this file, and look for the definition by its name.
# What starts the program stands below, so that they do not start it again.


async def main() -> None:
    settings = Settings(database_url="sqlite:///isolated.db")
    async with Milepost([render_report], settings=settings) as milepost, milepost.worker():
        healthy = await milepost.submit(render_report, Render(pages=20))
        crashing = await milepost.submit(render_report, Render(pages=20, crash_at=13))
        print("pages rendered:", await healthy.result())
        try:
            await crashing.result()
        except JobFailed as failed:
            print(failed)


if __name__ == "__main__":
    asyncio.run(main())
