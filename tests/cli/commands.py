"""Runs the command as a user does: in a folder, with an environment, to its end."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.chaos.processes import MILEPOST


def environment(**variables: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return {**inherited, **variables}


def milepost(
    folder: Path, *arguments: str, stdin: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MILEPOST, *arguments], input=stdin,
        cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]
