"""Applications and programs that a test writes, and how they are run."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

from tests.chaos.client import Client
from tests.chaos.processes import ROOT, environment

HEAD = """
    import asyncio, os, socket, sys, threading, time
    from pathlib import Path
    import svcs
    from milepost import JobContext, Milepost, SyncJobContext, job
"""
SHOUT = """
    @job("shout", pool="process")
    def shout(ctx: SyncJobContext[None], args: str) -> list[str]:
        return [args.upper(), str(os.getpid())]
"""
APPLICATION = """
    milepost = Milepost([shout])
"""
PROGRAM = """
    async def main() -> None:
        async with milepost, milepost.worker():
            handle = await milepost.submit(shout, "works")
            print(await handle.result(), os.getpid())
"""
GUARDED = """
    if __name__ == "__main__":
        asyncio.run(main())
"""


def write(folder: Path, name: str, *parts: str) -> Path:
    path = folder / name
    path.write_text("\n".join(dedent(part) for part in (HEAD, *parts)))
    return path


def app(folder: Path, **more: str) -> dict[str, str]:
    """What makes a worker run the application in `shop.py`."""
    inherited = os.environ.get("PYTHONPATH", "")
    return {"MILEPOST_APP": "shop:milepost", "PYTHONPATH": f"{folder}:{inherited}", **more}


@contextmanager
def program(store: Client, path: Path, **more: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program; what it prints is in the file `log` beside it."""
    with (path.parent / "log").open("wb") as out:
        started = subprocess.Popen(
            [sys.executable, str(path)], text=True, start_new_session=True,
            cwd=path.parent, stdout=out, stderr=out,
            env={**environment(store.url), "PYTHONPATH": app(ROOT)["PYTHONPATH"], **more},
        )  # fmt: skip
    try:
        yield started
    finally:
        started.kill()
        started.wait(30)
