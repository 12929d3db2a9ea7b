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
from milepost.worker import fires as role

WORKERS: Final = 5
POINTS: Final = 4


@job("tick", schedule=Schedule(Every(seconds=1), catch_up="all", overlap="allow"))
async def tick(ctx: JobContext[None], args: None) -> str:
    return str(ctx.scheduled_for)


def die(folder: Path, moment: datetime, point: int) -> None:
    """Die at this point of firing this moment, if it is the moment's turn and nobody else did."""
    if int(moment.timestamp()) % POINTS == point:
        with contextlib.suppress(FileExistsError):
            (folder / f"{moment:%H%M%S}-{point}").touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)


def dying(folder: Path, call: Callable[..., Any], moment_of: Callable[..., datetime],
          before: int, after: int | None = None) -> Callable[..., Any]:  # fmt: skip
    """Make a function a place to die in, before it begins and after its end."""

    def called(*args: Any, **kwargs: Any) -> Any:
        die(folder, moment_of(*args), before)
        result = call(*args, **kwargs)
        if after is not None:
            die(folder, moment_of(*args), after)
        return result

    return called


async def work(folder: Path) -> None:
    fires._fire = dying(folder, fires._fire, lambda c, k, found, *_: found.next_fire_at, 0)
    # The moved schedule and the jobs are written, and their moments are not; then all is, but no
    # commit.
    fires._note = dying(folder, fires._note, lambda c, k, name, fired: fired[0][0], 1, 2)
    # It is committed, and nobody has been told.
    role.Fires._tell = dying(  # type: ignore[method-assign]
        folder, role.Fires._tell, lambda self, done: done[0].jobs[0][0], 3
    )
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
