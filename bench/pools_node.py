"""Piscina, the pool of Node: each measurement is a run of bench/node/pool.cjs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

GUARANTEES = "memory only; threads, not processes: abort ends one; what kills one kills all"
FOLDER = Path(__file__).parent / "node"


def has_node() -> bool:
    """Whether Piscina can take part; installs it where only it is missing."""
    # The tests' own folder of servers and packages is beside ours.
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.servers import install_node_packages

    install_node_packages(FOLDER)
    return bool(shutil.which("node")) and (FOLDER / "node_modules" / "piscina").exists()


def piscina(measure: str, *told: object) -> dict[str, Any]:
    done = subprocess.run(
        ["node", FOLDER / "pool.cjs", measure, *map(str, told)],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found
