"""Real processes, to be stopped and killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
MILEPOST = [sys.executable, "-c", "from milepost.cli import main; main()"]
SOON = 60.0


def until(check: Callable[[], Any], what: str) -> Any:
    """Ask until the answer is true, or fail with what was waited for."""
    deadline = time.monotonic() + SOON
    while not (found := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {SOON} s in vain for {what}")
        time.sleep(0.005)
    return found


def environment(url: str) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": url,
        "MILEPOST_APP": "tests.chaos.app:milepost",
        "MILEPOST_LEASE_FOR": "1s",
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
    done = run(url, "jobs", "show", str(job_id), "--json")
    assert done.returncode == 0, done.stderr
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
            )  # fmt: skip

    def said(self, text: str) -> bool:
        return text in self.log.read_text()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SOON)


@contextlib.contextmanager
def worker(url: str, log: Path) -> Iterator[WorkerProcess]:
    started = WorkerProcess(url, log)
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.signal(signal.SIGCONT)
        started.kill()
