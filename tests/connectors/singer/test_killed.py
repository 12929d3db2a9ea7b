"""`milepost download singer:…`, killed at random moments with all that it has started."""

import json
import time
from functools import partial
from pathlib import Path

import psutil

from milepost import open_database, snapshots
from tests.chaos.downloading import KILLS, Downloading
from tests.chaos.processes import alive, until
from tests.connectors.singer.conftest import Tap

RECORDS = 20_000


def test_all_records_are_there_once_and_no_tap_is_left(tap: Tap, tmp_path: Path) -> None:
    tap.config |= {
        "streams": {"orders": {"count": RECORDS}}, "state_every": 70, "slow_every": 10,
        "child": True,
    }  # fmt: skip
    into = tmp_path / "shop.db"
    folders = tmp_path / "tmp"
    folders.mkdir()
    download = Downloading(
        tmp_path, tap.address, "--into", str(into), "--page-size", "100",
        "--option", f"config={json.dumps({**tap.config, 'token': '$TAP_TOKEN'})}",
        TMPDIR=str(folders), TAP_TOKEN="open sesame",
    )  # fmt: skip
    for _ in range(KILLS):
        # Of each attempt one run discovers and one reads; any moment from the first on.
        runs = _count(tap) + download.chance.choice([1, 2, 2, 2])
        download.kill(f"run {runs}", lambda runs=runs: _count(tap) >= runs, within=0.25)
        killed_at = time.monotonic()
        until(partial(_all_gone, tap), "the end of the taps")
        assert time.monotonic() - killed_at < 5
    told = download.finish()
    print(told, "begun at", [_place(run) for run in tap.runs()])
    database = open_database(str(into))
    with database.read() as conn:
        rows = snapshots.read_rows(conn, "orders")
    database.close()
    assert [row["id"] for row in rows] == list(range(1, RECORDS + 1))
    assert all(row["name"] == f"record {row['id']}" for row in rows)
    # Not the files with the secrets either.
    until(lambda: not list(folders.glob("milepost-run-*")), "the end of the folders")
    for each in (into, tmp_path / "store.db", *tmp_path.glob("*.log")):
        assert b"open sesame" not in each.read_bytes()


def _count(tap: Tap) -> int:
    return len(tap.runs()) if tap.ran.exists() else 0


def _all_gone(tap: Tap) -> bool:
    pids = [pid for run in tap.runs() for pid in (run["pid"], run["child"])]
    return not alive(psutil.Process(pid) for pid in pids if psutil.pid_exists(pid))


def _place(run: dict[str, object]) -> str:
    return "state" if "--state" in str(run["arguments"]) else "beginning"
