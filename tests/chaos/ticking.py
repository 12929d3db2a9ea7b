"""Five workers with a schedule of every second; whoever fires a moment first dies in doing so.

`python -m tests.chaos.ticking FOLDER MOMENTS` forks them, and another one for each that died, until
so many moments have cost a life. The store is that of the environment.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from milepost import Every, JobContext, Milepost, Schedule, job
from milepost.store import fires
from milepost.store.schedules import ScheduleView
from milepost.worker import fires as role

WORKERS: Final = 5
POINTS: Final = 3


@job("tick", schedule=Schedule(Every(seconds=1), catch_up="all", overlap="allow"))
async def tick(ctx: JobContext[None], args: None) -> str:
    return str(ctx.scheduled_for)


def die(folder: Path, moment: datetime, point: int | None) -> None:
    """Die at this point of firing this moment, if it is the moment's turn and nobody else did."""
    if int(moment.timestamp()) % POINTS == point:
        with contextlib.suppress(FileExistsError):
            (folder / f"{moment:%H%M%S}-{point}").touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)


def fatal(
    folder: Path, call: Callable[..., Any], before: int | None, after: int | None = None
) -> Callable[..., Any]:
    """Make a function a place to die in: before it begins, or after its end."""

    def called(*args: Any, **kwargs: Any) -> Any:
        moment = moment_in(args)
        die(folder, moment, before)
        result = call(*args, **kwargs)
        die(folder, moment, after)
        return result

    return called


def moment_in(given: Any) -> datetime:
    """Which moment is about to fire; there is one schedule."""
    [found] = {
        each.next_fire_at if isinstance(each, ScheduleView) else each[0].view.next_fire_at
        for each in given
        if isinstance(each, ScheduleView | list)
    }
    return found


async def work(folder: Path) -> None:
    fires._turn = fatal(folder, fires._turn, 0)  # nothing is written
    fires._fire = fatal(folder, fires._fire, None, 1)  # all is written, but not committed
    # It is committed, and nobody has been told.
    role.Fires._tell = fatal(folder, role.Fires._tell, 2)  # type: ignore[method-assign]
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    async with Milepost([tick]) as milepost, milepost.worker():
        await ending.wait()


def start(folder: Path) -> int:
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(work(folder))
        finally:
            os._exit(0)
    return child


def main(folder: Path, moments: int) -> None:
    workers = {start(folder) for _ in range(WORKERS)}
    while len(list(folder.iterdir())) < moments:
        child, status = os.wait()
        assert os.WIFSIGNALED(status), f"a worker ended by itself: {status}"
        workers.remove(child)
        workers.add(start(folder))
    for each in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGTERM)
    for each in workers:
        os.waitpid(each, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
