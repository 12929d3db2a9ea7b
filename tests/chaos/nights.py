"""Five workers whose clock is set by the test; whoever fires a moment first dies in doing so.

`python -m tests.chaos.nights FOLDER` forks them, and another one for each that has died, until
SIGTERM. The store is that of the environment.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from milepost import JobContext, Milepost, job
from milepost.store import fires
from milepost.store.clock import HostClock
from milepost.store.schedules import ScheduleView
from milepost.worker import fires as role
from milepost.worker import worker as worker_module

WORKERS: Final = 5
POINTS: Final = 3


@job("night")
async def night(ctx: JobContext[None], args: None) -> None: ...


class SetClock(HostClock):
    """SQLite's clock is the host's: each process reads here how much it is wrong. In seconds."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(self._file.read_text()))


def open_milepost(folder: Path) -> Milepost:
    is_sqlite = os.environ["DATABASE_URL"].startswith("sqlite")
    return Milepost([night], clock=SetClock(folder / "clock") if is_sqlite else None)


def die(folder: Path, moment: datetime, point: int) -> None:
    """Die at this point of firing this moment, if it is the moment's turn and nobody else did."""
    if int(moment.timestamp()) // 1800 % POINTS == point:
        with contextlib.suppress(FileExistsError):
            (folder / f"died-{moment:%m-%dT%H%M}-{point}").touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)


def fatal(folder: Path, call: Callable[..., Any], point: int, *, after: bool) -> Callable[..., Any]:
    """Make a function a place to die in: before it begins, or after its end."""

    def called(*args: Any, **kwargs: Any) -> Any:
        if not after:
            die(folder, moment_in(args), point)
        result = call(*args, **kwargs)
        if after:
            die(folder, moment_in(args), point)
        return result

    return called


def moment_in(args: Any) -> datetime:
    for each in args:
        if isinstance(each, ScheduleView):
            return each.next_fire_at
        if isinstance(each, list) and isinstance(each[0], fires.Fired):
            return each[0].view.next_fire_at
    raise AssertionError(f"no schedule is fired with {args}")


async def work(folder: Path) -> None:
    fires._turn = fatal(folder, fires._turn, 0, after=False)  # nothing is written
    fires._fire = fatal(folder, fires._fire, 1, after=True)  # all is written, and not committed
    # It is committed, and nobody has been told.
    role.Fires._tell = fatal(  # type: ignore[method-assign]
        folder, role.Fires._tell, 2, after=False
    )
    # A clock that is set is seen as soon as somebody looks.
    for module in (worker_module, role):
        vars(module)["LOOK_EVERY"] = timedelta(seconds=0.1)
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    async with open_milepost(folder) as milepost, milepost.worker():
        await ending.wait()


def start(folder: Path) -> int:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            asyncio.run(work(folder))
        finally:
            os._exit(0)
    return child


def main(folder: Path) -> None:
    workers: set[int] = set()

    def stop(*_: object) -> None:
        for each in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    workers |= {start(folder) for _ in range(WORKERS)}
    while True:
        child, status = os.wait()
        workers.remove(child)
        assert os.WIFSIGNALED(status), f"a worker ended by itself: {status}"
        workers.add(start(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
