"""Real API servers for the tests, which others wrote; each in a place of its own in this clone.

As a program (`python -m tests.api_servers`) it installs those from PyPI where they are missing; the
one from npm comes with what tests/node asks for.
"""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.servers import free_port

DATASETTE: Final = "datasette==0.65.5"
MOTO: Final = "moto[s3,server]==5.2.5"
"""Serves S3's protocol. Not in the tests' own environment: svcs loads the Flask that it brings, which
costs each start of a process a quarter of a second."""
_ENVIRONMENTS: Final = Path(__file__).parent.parent / ".servers"
_JSON_SERVER: Final = Path(__file__).parent / "node" / "node_modules" / ".bin" / "json-server"
_PATIENCE: Final = 60.0

Tables = Mapping[str, Sequence[Mapping[str, Any]]]


def install() -> None:
    """Install those from PyPI where they are missing."""
    for package in (DATASETTE, MOTO):
        python_with(package)


def python_with(package: str) -> Path:
    """The interpreter of an environment with a package, which is made where it is missing."""
    environment = _ENVIRONMENTS / re.sub(r"\[.*\]", "", package)
    python, ready = environment / "bin" / "python", environment / ".ready"
    if ready.exists():
        return python
    print(f"Installing {package} for the tests …", flush=True)
    venv.create(environment, with_pip=True, clear=True)
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package],
        check=True,
    )
    ready.touch()
    return python


@contextlib.contextmanager
def datasette(folder: Path, schema: str, tables: Tables) -> Iterator[str]:
    """Serve tables from a SQLite database `shop`; yields the server's URL."""
    path = folder / "shop.db"
    with contextlib.closing(sqlite3.connect(path)) as shop, shop:
        shop.executescript(schema)
        for name, rows in tables.items():
            for row in rows:
                places = ", ".join(f":{column}" for column in row)
                shop.execute(f"INSERT INTO {name} VALUES ({places})", row)
    port = free_port()
    command = [python_with(DATASETTE), "-m", "datasette", "serve", path, "-h", "127.0.0.1", "-p"]
    with _served([*map(str, command), str(port)], port, folder) as url:
        yield url


@contextlib.contextmanager
def json_server(folder: Path, tables: Tables) -> Iterator[str]:
    """Serve tables from a file of JSON; yields the server's URL."""
    node = shutil.which("node")
    if node is None or not _JSON_SERVER.exists():
        reason = "Node or the npm package json-server is missing: install Node.js, then `make test`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    path = folder / "shop.json"
    path.write_text(json.dumps(tables))
    port = free_port()
    command = [str(node), str(_JSON_SERVER), "--host", "127.0.0.1", "--port", str(port), str(path)]
    with _served(command, port, folder) as url:
        yield url


@contextlib.contextmanager
def _served(command: Sequence[str], port: int, folder: Path) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + _PATIENCE
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start: {log.read_text()[-800:]}")
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait(_PATIENCE)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


if __name__ == "__main__":
    install()
