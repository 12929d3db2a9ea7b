"""A worker dies in the middle of a flow: each child is there once, and the join runs to its end."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from milepost import Database, JobState, Milepost, Settings
from milepost.store import reading, tables
from milepost.store.filters import JobFilter
from tests.chaos.conftest import rows
from tests.chaos.flows import CHILDREN, Where, page, split
from tests.chaos.processes import until, worker


@pytest.mark.parametrize("moment", ["in the save", "after the save"])
def test_promise_3_children_are_there_once_after_kill_9(
    url: str, database: Database, tmp_path: Path, moment
) -> None:
    async def submit() -> int:
        settings = Settings(database_url=url)
        async with Milepost([page, split], settings=settings, observers=()) as milepost:
            return (await milepost.submit(split, Where(str(tmp_path), moment))).job_id

    def state() -> JobState:
        with database.read() as conn:
            return reading.find(conn, job_id).state

    job_id = asyncio.run(submit())
    app = {"MILEPOST_APP": "tests.chaos.flows:milepost"}
    with worker(url, tmp_path / "first.log", **app) as first:
        until((tmp_path / "reached").exists, "the handler to be there")
        first.kill()
    (tmp_path / "go").touch()
    with worker(url, tmp_path / "second.log", **app):
        until(lambda: state() is JobState.COMPLETED, "the join to complete")
    with database.read() as conn:
        made = reading.recent(conn, JobFilter(kind="page"))
        done = conn.execute(
            select(tables.attempts.c.job_id).where(tables.attempts.c.outcome == "completed")
        ).scalars()
        assert set(Counter(done).values()) == {1}
        assert reading.find(conn, job_id).result == str(sum(range(CHILDREN)))
    assert sorted(each.args for each in made) == sorted(str(n) for n in range(CHILDREN))
    assert len(rows(database)) == 1
