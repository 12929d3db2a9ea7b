"""Real processes, to be stopped and killed."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
from typer.testing import CliRunner

from milepost import Database
from milepost.cli.main import app

ROOT = Path(__file__).parent.parent.parent
MILEPOST = [sys.executable, "-c", "from milepost.cli import main; main()"]
SOON = 60.0


def until(check: Callable[[], Any], what: str) -> Any:
    """Ask until the answer is true, or fail with what was waited for."""
    deadline = time.monotonic() + SOON
    while not (found := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {SOON} s in vain for {what}")
        time.sleep(0.02)
    return found


def environment(url: str) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": url,
        "MILEPOST_APP": "tests.chaos.app:milepost",
        "MILEPOST_LEASE_FOR": "2s",
        "MILEPOST_CANCEL_GRACE": "200ms",
        "PYTHONUNBUFFERED": "1",
    }


def run(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*MILEPOST, *arguments],
        cwd=ROOT, env=environment(url), capture_output=True, text=True, timeout=SOON, check=False,
    )  # fmt: skip


def submit(url: str, kind: str, **args: Any) -> int:
    done = run(url, "submit", kind, json.dumps(args), "--json")
    assert done.returncode == 0, done.stderr
    job_id: int = json.loads(done.stdout)["job"]
    return job_id


def show(url: str, job_id: int) -> dict[str, Any]:
    """Give what the command prints. It runs in this process, because it is asked for so often."""
    # An application that was imported once would keep its first store.
    runner = CliRunner(env={**environment(url), "MILEPOST_APP": None})
    done = runner.invoke(app, ["jobs", "show", str(job_id), "--json"])
    assert done.exit_code == 0, done.output
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


class WorkerProcess:
    """`milepost worker` with its log in a file."""

    def __init__(self, url: str, log: Path, **more: str) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [*MILEPOST, "worker"],
                cwd=ROOT, env={**environment(url), **more}, stdout=out, stderr=out,
                # A group of its own, as a shell gives to what it starts in a terminal.
                start_new_session=True,
            )  # fmt: skip

    def said(self, text: str) -> bool:
        # What handlers print there is any bytes.
        return text in self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SOON)


def stop_outside_of_a_write(first: WorkerProcess, database: Database) -> None:
    """Stop a worker, but not while a role of it writes to SQLite: then nobody else could."""
    while True:
        first.signal(signal.SIGSTOP)
        # Its threads run on for a moment; the parent hears when the last one has stopped.
        os.waitid(os.P_PID, first.process.pid, os.WSTOPPED)
        if not database.is_sqlite:
            return
        path = str(database.engine.url.database)
        with contextlib.closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                first.signal(signal.SIGCONT)
                continue
            other.execute("ROLLBACK")
            return


def below(process: int) -> list[psutil.Process]:
    """All processes that this one has started, and those that they have."""
    return psutil.Process(process).children(recursive=True)


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; one that nobody has reaped yet does not."""
    return [each for each in processes if each.is_running() and _status(each) != "zombie"]


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return "zombie"


@contextlib.contextmanager
def worker(url: str, log: Path, **more: str) -> Iterator[WorkerProcess]:
    started = WorkerProcess(url, log, **more)
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.signal(signal.SIGCONT)
        started.kill()
