from datetime import timedelta
from pathlib import Path

import pytest

from milepost import Milepost, Settings
from milepost.cli import doctor
from milepost.cli.output import Output
from milepost.store import reading
from tests.cli.commands import lines, process


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


APPLICATION = """
import os, threading
from milepost import Milepost, SyncJobContext, job
{at_import}

@job("apart", pool="process")
def apart(ctx: SyncJobContext[None], args: int) -> None: ...

def make():
    @job("within", pool="process")
    def within(ctx: SyncJobContext[None], args: int) -> None: ...
    return within

milepost = Milepost([{definition}])
"""
BREAKS_IN_CHILDREN = "if os.environ['HERE'] != str(os.getpid()): raise LookupError('not here')"
WAITS = "threading.Thread(target=threading.Event().wait, daemon=True).start()"


@pytest.mark.parametrize(
    ("at_import", "definition", "well", "said"),
    [
        ("", "apart", True, "start by fork; the first took "),
        (WAITS, "apart", True, "start by spawn (importing the application leaves threads (1) open"),
        ("os.environ.setdefault('HERE', str(os.getpid())); " + BREAKS_IN_CHILDREN, "apart", False,
         "none starts: LookupError: not here"),
        ("", "make()", False, "within runs in child processes, which import it: define it at the "),
    ],
    ids=["forks", "spawns", "breaks", "has no name"],
)  # fmt: skip
def test_it_tries_whether_child_processes_start(
    tmp_path: Path, at_import: str, definition: str, well: bool, said: str
) -> None:
    source = APPLICATION.format(at_import=at_import.replace("; ", "\n"), definition=definition)
    (tmp_path / "shop.py").write_text(source)
    done = process(tmp_path, "doctor", "--json", MILEPOST_APP="shop")

    [finding] = [each for each in lines(done) if each["check"] == "child processes"]
    assert finding["ok"] is well
    assert finding["said"].startswith(said)
    assert done.returncode == (0 if well else 1)
