"""Schedules whose workers die at each fire, as real processes."""

import os
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from milepost import Database
from milepost.store import tables
from tests.chaos.processes import ROOT, SOON, environment
from tests.chaos.ticking import POINTS

MOMENTS = int(os.environ.get("KILLS", "8"))


def test_each_moment_fires_once_though_a_worker_dies_at_each(
    url: str, database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "deaths"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.ticking", str(folder), str(MOMENTS)],
        cwd=ROOT, env=environment(url), capture_output=True, text=True, check=False,
        timeout=SOON + 3 * MOMENTS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    with database.read() as conn:
        fired = conn.execute(select(tables.schedule_fires.c.moment)).scalars().all()
        jobs = conn.execute(select(tables.jobs.c.scheduled_for).order_by(tables.jobs.c.id))
        moments = list(jobs.scalars())
    assert max(Counter(moments).values()) == 1
    assert sorted(fired) == sorted(moments)
    first, last = min(moments), max(moments)
    seconds = int((last - first).total_seconds())
    assert sorted(moments) == [first + timedelta(seconds=n) for n in range(seconds + 1)]
    points = Counter(path.name.partition("-")[2] for path in folder.iterdir())
    assert sum(points.values()) >= MOMENTS
    assert len(points) == POINTS
