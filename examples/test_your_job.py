"""How to test a job: run it without a worker, and crash it at every checkpoint.

    pytest test_your_job.py

Copy it beside your own job. It needs pytest and no plugin.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import svcs
from sqlalchemy import Connection, text

from milepost import Database, JobContext, job, open_database
from milepost.testing import World, crash_at_every_checkpoint, run_job


@dataclass(frozen=True)
class Copy:
    rows: int


@dataclass(frozen=True)
class Position:
    row: int = 0


def insert(conn: Connection, row: int) -> None:
    conn.execute(text("INSERT INTO copied VALUES (:row)"), {"row": row})


@job("copy")
async def copy(ctx: JobContext[Position], args: Copy, *, target: Database) -> int:
    # The data is in another database than the store: its checkpoint goes there too.
    await ctx.keep_checkpoint_in(target)
    for row in range(ctx.checkpoint.row + 1, args.rows + 1):
        await ctx.save(Position(row), insert, row)
    return ctx.checkpoint.row


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        target = open_database(str(Path(folder) / "data.db"))
        with target.begin() as conn:
            conn.execute(text("CREATE TABLE copied (row INTEGER)"))

        def contents() -> list[int]:
            with target.read() as conn:
                return list(conn.execute(text("SELECT row FROM copied ORDER BY row")).scalars())

        services = svcs.Registry()
        services.register_value(Database, target)
        yield World(services, contents)
        target.close()


def test_it_copies_every_row() -> None:
    async def check() -> None:
        async with world() as each:
            run = await run_job(copy, Copy(3), services=each.services)
            assert run.result == 3
            assert each.contents() == [1, 2, 3]

    asyncio.run(check())


def test_it_comes_out_the_same_after_a_crash_anywhere() -> None:
    report = asyncio.run(crash_at_every_checkpoint(copy, Copy(3), world=world))
    assert report.same, str(report)
