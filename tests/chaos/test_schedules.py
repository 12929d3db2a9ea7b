"""Nights in which clocks change and are set wrong, while a worker dies at each fire."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import select, text

from milepost import Cron, Database, Milepost, Schedule
from milepost.jobs.registry import Registry
from milepost.store import fires, schedules, tables
from tests.chaos.nights import POINTS, night, open_milepost
from tests.chaos.processes import ROOT, SOON, environment, until

HALF_HOUR: Final = timedelta(minutes=30)
OFTEN: Final = "*/30 * * * *"
AT_NIGHT: Final = "30 1,2 * * *"

# Nights in UTC, and when they fire what names half past one and half past two there. Two for each
# database: one in which 02:30 does not exist, and one in which 02:30 or 01:30 comes twice.
NIGHTS: Final = {
    "sqlite": [
        ("America/New_York", "2026-03-08T05:30", ["06:30", "07:00"]),
        ("Europe/Berlin", "2026-10-24T23:00", ["23:30", "00:30"]),
    ],
    "postgresql": [
        ("Europe/Berlin", "2026-03-28T23:30", ["00:30", "01:00"]),
        ("America/New_York", "2026-11-01T05:00", ["05:30", "07:30"]),
    ],
}
# In half hours from the night's beginning; in its midst the clock is an hour behind, an hour
# ahead, and right again.
COURSE: Final = [0, 1, 2, 3, 1, 5, 4]


@pytest.fixture
def clock(url: str, database: Database, tmp_path: Path) -> Iterator[tuple[str, Database, Path]]:
    """The URL of a store whose clock can be set, the store, and a folder of the workers."""
    folder = tmp_path / "nights"
    folder.mkdir()
    (folder / "clock").write_text("0")
    if database.is_sqlite:
        yield url, database, folder
        return
    with database.begin() as conn:
        conn.execute(text("CREATE SCHEMA stepped"))
        conn.execute(text("CREATE TABLE stepped.step AS SELECT interval '0' AS step"))
        conn.execute(
            text(
                "CREATE FUNCTION stepped.statement_timestamp() RETURNS timestamptz STABLE "
                "LANGUAGE sql AS 'SELECT pg_catalog.statement_timestamp() + step FROM stepped.step'"
            )
        )
    # Ours is found first only where the catalog is named after it.
    yield f"{url}?options=-csearch_path%3Dstepped,pg_catalog,public", database, folder


def set_clock(database: Database, folder: Path, present: datetime) -> None:
    step = present + timedelta(seconds=1) - datetime.now(UTC)
    new = folder / "clock.new"
    new.write_text(str(step.total_seconds()))
    new.rename(folder / "clock")
    if not database.is_sqlite:
        with database.begin() as conn:
            conn.execute(text("UPDATE stepped.step SET step = :step"), {"step": step})


def nights_of(database: Database) -> list[tuple[str, str, list[str]]]:
    return NIGHTS[database.engine.dialect.name]


def nothing_is_due(milepost: Milepost) -> bool:
    with milepost.database.read() as conn:
        due_in = fires.due_in(conn, milepost.database.clock, Registry([night]))
    return due_in is None or due_in > timedelta(0)


async def live_through(milepost: Milepost, database: Database, folder: Path) -> set[datetime]:
    """Go through all nights; returns the moments of every half hour in them."""
    names = []
    whole = set()
    for zone, begins, _ in nights_of(database):
        begin = datetime.fromisoformat(begins).replace(tzinfo=UTC)
        set_clock(database, folder, begin - timedelta(minutes=1))
        for expression in (OFTEN, AT_NIGHT):
            names.append(f"{begins} {expression[0]}")
            cron = Cron(expression, zone)
            await milepost.schedules.add(
                names[-1], night, Schedule(cron, catch_up="all", overlap="allow")
            )
        for half_hours in COURSE:
            set_clock(database, folder, begin + half_hours * HALF_HOUR)
            until(lambda: nothing_is_due(milepost), "the workers to fire")
            whole.add(begin + half_hours * HALF_HOUR)
        for name in names:
            await milepost.schedules.pause(name)
    return whole


def test_each_moment_of_nights_when_clocks_change_fires_once_though_a_worker_dies_at_each(
    clock: tuple[str, Database, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, database, folder = clock
    variables = environment(url) | {
        # A night is months after another, and who runs a job may die of a schedule.
        "MILEPOST_KEEP_COMPLETED_FOR": "36500d",
        "MILEPOST_KEEP_FAILED_FOR": "36500d",
        "MILEPOST_MOST_RESCUES": "1000",
    }
    monkeypatch.setattr(os, "environ", variables)
    log = (folder.parent / "log").open("wb")
    workers = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.nights", str(folder)],
        cwd=ROOT, env=variables, stdout=log, stderr=log,
    )  # fmt: skip

    async def lived() -> set[datetime]:
        async with open_milepost(folder) as milepost:
            return await live_through(milepost, database, folder)

    try:
        whole = asyncio.run(lived())
    finally:
        workers.send_signal(signal.SIGTERM)
        workers.wait(SOON)
        log.close()

    with database.read() as conn:
        jobs = tables.jobs.c
        made = conn.execute(select(jobs.tags, jobs.scheduled_for)).all()
        names = schedules.names(conn)
    assert max(Counter(made).values()) == 1
    fired = {
        name: sorted(at for tags, at in made if tags == f'["schedule:{name}"]') for name in names
    }
    assert sorted(at for name in names if name[-1] == "*" for at in fired[name]) == sorted(whole)
    for _, begins, expected in nights_of(database):
        assert [f"{at:%H:%M}" for at in fired[f"{begins} 3"]] == expected
    deaths = Counter(path.name[-1] for path in folder.glob("died-*"))
    assert len(deaths) == POINTS
    # At each moment, but for those that were made up for together with another.
    assert sum(deaths.values()) >= len(whole) - len(nights_of(database))
