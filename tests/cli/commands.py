"""Runs a command in a folder, with an environment, to its end."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from milepost.cli.main import app
from tests.chaos.processes import MILEPOST


def environment(**variables: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return {**inherited, **variables}


def milepost(
    folder: Path, *arguments: str, stdin: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, which a start costs far less than one of its own."""
    command = ["milepost", *arguments]
    with pytest.MonkeyPatch.context() as patched, contextlib.chdir(folder):
        patched.setattr(sys, "argv", command)
        env: dict[str, str | None] = {"DATABASE_URL": None, **variables}
        done = CliRunner().invoke(app, arguments, input=stdin, env=env)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(command, done.exit_code, done.stdout, done.stderr)


def process(
    folder: Path, *arguments: str, stdin: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as a user does."""
    return subprocess.run(
        [*MILEPOST, *arguments], input=stdin,
        cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]
