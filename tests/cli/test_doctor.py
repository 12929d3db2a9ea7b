from datetime import timedelta
from pathlib import Path

import pytest

from milepost import Milepost, Settings
from milepost.cli import doctor
from milepost.cli.output import Output
from milepost.store import reading


async def test_live_checks_without_a_worker_leave_no_job_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "LIVE_WAIT", timedelta(seconds=0.05))
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'store.db'}")
    findings = await doctor._check(Milepost(settings=settings), Output(json=True), "default")
    assert [each.well for each in findings if each.what.startswith("live")] == [False] * 4

    async with Milepost(settings=settings) as milepost:
        left = await milepost.database.query(reading.recent)
    assert [view.state for view in left] == ["cancelled"] * 4
