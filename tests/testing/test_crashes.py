"""crash_at_every_checkpoint tells a job that resumes rightly from one that does not."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import svcs
from sqlalchemy import Connection, text

from milepost import Database, JobContext, JobFailed, SyncJobContext, job, open_database
from milepost.testing import World, crash_at_every_checkpoint

ROWS = 5


@dataclass(frozen=True)
class Args:
    """Nothing."""


@dataclass(frozen=True)
class At:
    row: int = 0


def insert(conn: Connection, row: int) -> None:
    conn.execute(text("INSERT INTO copied VALUES (:row)"), {"row": row})


@job("careful")
async def careful(ctx: JobContext[At], args: Args, *, database: Database) -> None:
    await ctx.keep_checkpoint_in(database)
    for row in range(ctx.checkpoint.row + 1, ROWS + 1):
        await ctx.save(At(row), insert, row)


@job("careful-function")
def careful_function(ctx: SyncJobContext[At], args: Args, *, database: Database) -> None:
    ctx.keep_checkpoint_in(database)
    for row in range(ctx.checkpoint.row + 1, ROWS + 1):
        ctx.save(At(row), insert, row)


@job("forgetful")
async def forgetful(ctx: JobContext[At], args: Args, *, database: Database) -> None:
    """Writes beside its checkpoint, not with it."""
    for row in range(ctx.checkpoint.row + 1, ROWS + 1):
        await database.run(insert, row)
        await ctx.save(At(row))


@job("broken")
async def broken(ctx: JobContext[At], args: Args, *, database: Database) -> None:
    raise ValueError("never works")


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(str(Path(folder) / "data.db"))
        with database.begin() as conn:
            conn.execute(text("CREATE TABLE copied (row INTEGER)"))

        def contents() -> list[int]:
            with database.read() as conn:
                return list(conn.execute(text("SELECT row FROM copied ORDER BY row")).scalars())

        services = svcs.Registry()
        services.register_value(Database, database)
        yield World(services, contents)
        database.close()


@pytest.mark.parametrize("definition", [careful, careful_function], ids=lambda d: str(d.kind))
async def test_promise_3_a_job_that_saves_its_data_with_its_checkpoint_passes(
    definition: object,
) -> None:
    report = await crash_at_every_checkpoint(definition, Args(), world=world)  # type: ignore[arg-type]

    assert report.same, str(report)
    assert (report.saves, report.crashes) == (ROWS, 2 * ROWS)


async def test_a_job_that_writes_beside_its_checkpoint_is_found_out() -> None:
    report = await crash_at_every_checkpoint(forgetful, Args(), world=world)

    assert not report.same
    assert {difference.moment for difference in report.differences} == {"before the commit"}
    assert "killed before the commit of save 1" in str(report)


async def test_a_job_that_never_works_is_not_called_the_same() -> None:
    with pytest.raises(JobFailed, match="never works"):
        await crash_at_every_checkpoint(broken, Args(), world=world)
