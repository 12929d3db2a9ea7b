"""What a hostile handler does, and the bench on which it does it: one worker for all of them."""

import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.client import Client, client
from tests.chaos.isolated import HEALTHY, Deed
from tests.chaos.processes import WorkerProcess, alive, below, until, worker


@dataclass(frozen=True)
class Case:
    """What a handler does, and what is to be read of it; `traced` in the traceback."""

    job: Any
    deed: str
    says: str = ""
    traced: str = ""

    def __str__(self) -> str:
        return f"{self.job.kind} {self.deed}"


@dataclass
class Bench:
    """One store and one worker for all the cases: it has to survive each of them.

    The healthy jobs save in all three pools, from before the first case until after the last.
    """

    store: Client
    worker: WorkerProcess
    folder: Path
    healthy: Sequence[int] = ()

    def begin_healthy(self, number: int) -> None:
        self.healthy = [
            self.store.submit(HEALTHY[index % len(HEALTHY)], Deed(str(self.folder)))
            for index in range(number)
        ]
        until(lambda: all(self.checkpoints()), f"{number} healthy jobs to save")

    def checkpoints(self) -> list[str | None]:
        return [self.store.view(job_id).checkpoint for job_id in self.healthy]

    def end_healthy(self) -> None:
        (self.folder / "enough").touch()
        for job_id in self.healthy:
            ended = self.store.ended(job_id)
            assert (ended.state, ended.attempt, ended.failures) == ("completed", 1, 0)

    def begin(self, job: Any, folder: Path, deed: str) -> int:
        job_id = self.store.submit(job, Deed(str(folder), deed))
        until((folder / "began").exists, f"{job.kind} {deed} to begin")
        return job_id

    def read(self, job_id: int, says: str, traced: str = "") -> dict[str, Any]:
        """See that a person is told, and a program; returns what a program is told."""
        shown = self.store.show(job_id)
        assert re.match(says, shown["error"]), shown["error"]
        assert traced in (shown["attempts"][-1]["traceback"] or "")
        told = self.store.tell(job_id)
        assert f"error        {shown['error']}\n" in told
        assert "\n" not in shown["error"]
        assert traced in told
        return shown

    def nothing_is_left_of(self, folder: Path, *, process: bool = False) -> None:
        """See that what the handler started has ended, and `process`: its own one."""
        told = folder / "grandchildren"
        pids = told.read_text().split() if told.exists() else []
        if process:
            pids += [line.split()[1] for line in (folder / "began").read_text().splitlines()]
        until(lambda: not any(_runs(int(pid)) for pid in pids), f"{pids} to end")


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and bool(alive([psutil.Process(pid)]))


@contextmanager
def bench_with(healthy: int, url: str, folder: Path) -> Iterator[Bench]:
    """Start a worker, and so many healthy jobs; at the end nothing may be amiss with them."""
    with (
        client(url) as store,
        worker(
            url, folder / "log", MILEPOST_APP="tests.chaos.isolated:milepost",
            MILEPOST_CONCURRENCY="10", MILEPOST_STOP_GRACE="2s",
        ) as started,
    ):  # fmt: skip
        made = Bench(store, started, folder)
        made.begin_healthy(healthy)
        yield made
        made.end_healthy()
        processes = below(started.process.pid)
        started.signal(signal.SIGTERM)
        assert started.process.wait(30) == 0
        until(lambda: not alive(processes), "all processes to be gone")
        for wrong in ("start by spawn", "never retrieved", "trying again", "left behind"):
            assert not started.said(wrong), started.log.read_text(errors="replace")[-3000:]
