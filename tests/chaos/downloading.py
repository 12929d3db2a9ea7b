"""`milepost download` as a process that is killed and run again, until it ends by itself."""

import contextlib
import json
import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.processes import MILEPOST, ROOT, SOON, until

KILLS = int(os.environ.get("KILLS", "3"))
"""How often each is killed; 100 for the whole show."""


class Downloading:
    """One download with a store in a folder, which also gets a log of each run."""

    def __init__(self, folder: Path, *arguments: str, cwd: Path = ROOT, **environment: str) -> None:
        self._folder = folder
        self._command = [*MILEPOST, "download", *arguments, "--json"]
        self._cwd = cwd
        self.store_url = f"sqlite:///{folder}/store.db"
        self._environment = {
            **os.environ, "DATABASE_URL": self.store_url,
            # On a busy machine three kills in a row may come before a page is written.
            "MILEPOST_MOST_RESCUES": str(KILLS + 1), **environment,
        }  # fmt: skip
        self._runs = 0
        self.kills = 0
        self.pid = 0
        seed = random.randrange(2**32)
        print(f"seed {seed}")
        self.chance = random.Random(seed)

    @property
    def log(self) -> Path:
        """What the latest run has said."""
        return self._folder / f"{self._runs}.log"

    def start(self) -> subprocess.Popen[bytes]:
        """Begin the next run."""
        self._runs += 1
        with self.log.open("wb") as log:
            return subprocess.Popen(
                self._command, cwd=self._cwd, env=self._environment, stdout=log, stderr=log
            )

    def kill(
        self,
        what: str,
        at: Callable[[], Any],
        within: float,
        then: Callable[[], object] = lambda: None,
        *,
        may_end: bool = False,
    ) -> bool:
        """Run it, and kill it some time after a moment; whether it still ran then.

        `then` is done just before. That it ends first is an error unless it `may_end`.
        """
        with self.start() as process:
            self.pid = process.pid
            until(lambda: at() or process.poll() is not None, what)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self.chance.uniform(0, within))
            if process.poll() is not None:
                assert may_end, self.log.read_text()
                assert process.returncode == 0, self.log.read_text()
                return False
            then()
            process.kill()
        self.kills += 1
        return True

    def finish(self) -> dict[str, Any]:
        """Let it run to its end; returns what it tells of its tables."""
        began = time.monotonic()
        with self.start() as process:
            process.wait(2 * SOON)
        print(f"the last run took {time.monotonic() - began:.1f} s after {self.kills} kills")
        lines = self.log.read_text().splitlines()
        assert process.returncode == 0, "\n".join(lines)
        told = json.loads(lines[-1])
        assert told["event"] == "completed"
        tables: dict[str, Any] = told["tables"]
        return tables
