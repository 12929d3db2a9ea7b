"""The application that the worker processes of these tests run."""

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from milepost import JobContext, Milepost, Progress, SyncJobContext, job

PAGES = 8
PATIENCE = 60


@dataclass(frozen=True)
class Pages:
    """`wait_at`: the page at which the first attempt waits for the file `go` in `folder`."""

    folder: str
    wait_at: int
    in_write: bool = False


@dataclass(frozen=True)
class At:
    page: int = 0


def reach_and_wait(folder: str) -> None:
    """Tell the test that we are here, and go on when it says so."""
    (Path(folder) / "reached").touch()
    deadline = time.monotonic() + PATIENCE
    while not (Path(folder) / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.005)


def insert(conn: Connection, page: int, attempt: int, wait_in: str | None) -> None:
    conn.execute(
        text("INSERT INTO pages VALUES (:page, :attempt)"), {"page": page, "attempt": attempt}
    )
    if wait_in is not None:
        reach_and_wait(wait_in)


@job("pages")
def pages(ctx: SyncJobContext[At], args: Pages) -> int:
    for page in range(ctx.checkpoint.page + 1, PAGES + 1):
        waits = page == args.wait_at and ctx.attempt == 1
        if waits and not args.in_write:
            reach_and_wait(args.folder)
        wait_in = args.folder if waits and args.in_write else None
        ctx.save(At(page), insert, page, ctx.attempt, wait_in, progress=Progress(page, PAGES))
    return ctx.attempt


@job("sleeps")
async def sleeps(ctx: JobContext[None], args: Pages) -> None:
    (Path(args.folder) / "reached").touch()
    await asyncio.sleep(PATIENCE)


@job("saves")
def saves(ctx: SyncJobContext[At], args: Pages) -> None:
    """A thread that saves and looks at nothing."""
    for page in range(ctx.checkpoint.page + 1, 1_000_000):
        ctx.save(At(page))
        (Path(args.folder) / "reached").touch()
        time.sleep(0.01)


@job("kills-its-worker")
async def kills_its_worker(ctx: JobContext[None], args: Pages) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Naps:
    seconds: float


@job("nap")
async def nap(ctx: JobContext[None], args: Naps) -> int:
    await asyncio.sleep(args.seconds)
    return ctx.attempt


milepost = Milepost([pages, sleeps, saves, kills_its_worker, nap])
