"""mypy and pyright accept what is right, and reject what is wrong, line by line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HERE = Path(__file__).parent
FILES = [HERE / "definitions.py", HERE / "right.py", *sorted((HERE / "wrong").glob("*.py"))]
Lines = set[tuple[str, int]]


def marked() -> Lines:
    return {
        (path.name, number)
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if line.endswith("# error")
    }


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command, *map(str, FILES)],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", "MYPYPATH": "src"},
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.stdout


def test_the_marks_are_there() -> None:
    assert {name for name, _ in marked()} == {path.name for path in FILES[2:]}


def test_mypy_rejects_each_wrong_line_and_no_other() -> None:
    # Without the project's own settings: a user has others.
    told = run("mypy", "--strict", "--config-file", os.devnull, "--explicit-package-bases",
               "--no-error-summary")  # fmt: skip
    found = re.findall(r"([\w]+\.py):(\d+): error", told)
    assert {(name, int(line)) for name, line in found} == marked(), told


@pytest.mark.xdist_group("pyright")
def test_pyright_rejects_each_wrong_line_and_no_other() -> None:
    told = json.loads(run("pyright", "--outputjson"))
    found = {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1)
        for each in told["generalDiagnostics"]
        if each["severity"] == "error"
    }
    assert found == marked(), told
