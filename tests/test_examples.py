"""The examples run, as their first lines say."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = {
    "isolated.py": "nothing new saved between",
    "flows.py": "to ann: acme: 4, ajax: 4, bolt: 4",
    "import_orders.py": "Imported(pages=20)",
    "mounted.py": "count is completed: 1000",
    "own_transaction.py": "invoice ",
}


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*SCRIPTS, "test_your_job.py"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_and_runs_again(name: str, tmp_path: Path) -> None:
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / name)],
            cwd=tmp_path, env={**os.environ, "SECONDS_A_PAGE": "0.01"},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert SCRIPTS[name] in done.stdout


def test_the_tests_of_a_job_run_where_a_user_copies_them_with_no_plugin(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "test_your_job.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "test_your_job.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
