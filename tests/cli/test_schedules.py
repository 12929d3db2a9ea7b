"""`milepost schedules`, in this process: it is a dozen commands."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from typer.testing import CliRunner, Result

from milepost.cli.main import app
from milepost.store import tables
from milepost.store.database import open_database

Command = Callable[..., Result]
KIND = "milepost-check-succeed"
NIGHTLY = ("--cron", "30 2 * * *", "--timezone", "Europe/Berlin")


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/milepost.db"


@pytest.fixture
def command(store: str) -> Command:
    runner = CliRunner(env={"DATABASE_URL": store, "MILEPOST_APP": None, "COLUMNS": "200"})

    def run(*arguments: str) -> Result:
        return runner.invoke(app, ["schedules", *arguments])

    return run


def read(done: Result) -> Any:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_schedule_from_its_beginning_to_its_end(command: Command, store: str) -> None:
    assert "no schedules: @job(…, schedule=Cron(…))" in command("list").stdout
    added = command("add", "nightly", KIND, *NIGHTLY, "--jitter", "5m", "--priority", "3")
    assert added.stdout.startswith("schedule nightly fires next at ")
    [name, kind, *when] = command("list").stdout.splitlines()[1].split()[:8]
    assert (name, kind, when) == ("nightly", KIND, ["30", "2", "*", "*", "*", "Europe/Berlin"])

    listed = read(command("list", "--json"))
    assert (listed["cron"], listed["jitter"], listed["priority"]) == ("30 2 * * *", 300.0, 3)
    [upcoming] = listed["next"]
    assert upcoming["local"][11:16] in ("02:30", "03:00")
    assert datetime.fromisoformat(upcoming["local"]) == datetime.fromisoformat(upcoming["at"])
    shown = read(command("show", "nightly", "--next", "3", "--json"))
    assert (len(shown["next"]), shown["fires"]) == (3, [])
    assert command("show", "nightly", "--next", "3").stdout.count(" UTC)") == 3

    first = read(command("run-now", "nightly", "--json"))
    assert first == {"event": "submitted", "job": 1, "existed": False}
    assert command("run-now", "nightly").stdout == "job 1 (its last one, which has not ended)\n"
    assert command("pause", "nightly").stdout == "schedule nightly is paused\n"
    assert command("list").stdout.rstrip().endswith("paused")
    assert "schedule nightly fires next at" in command("resume", "nightly").stdout

    database = open_database(store)
    with database.begin() as conn:
        past = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
        conn.execute(update(tables.schedules).values(next_fire_at=past, missed=2, missed_at=past))
    database.close()
    remarks = "overdue: no worker knows its kind, missed 2, the last at 2026-01-01 01:00:00 CET"
    assert remarks in command("list").stdout
    assert remarks in command("show", "nightly").stdout
    assert read(command("list", "--json"))["overdue"] is True

    changed = command("add", "nightly", KIND, "--every", "5m", "--replace", "--json")
    assert read(changed)["every"] == timedelta(minutes=5).total_seconds()
    assert "every 0:05:00" in command("show", "nightly").stdout
    assert command("rm", "nightly").stdout == "schedule nightly is removed\n"
    gone = command("show", "nightly")
    assert (gone.exit_code, "no schedule 'nightly' in this store" in gone.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((KIND,), "give --cron '0 3 * * *' or --every 5m: one of them"),
        ((KIND, "--every", "soon"), "--every takes a duration such as 30s, 5m or 2h"),
        ((KIND, "--every", "5m", "--timezone", "UTC"), "--timezone goes with --cron"),
        ((KIND, "--cron", "61 * * * *"), "bad minute; it takes five fields"),
        ((KIND, "--cron", "0 3 * * *", "--timezone", "Mars"), "no time zone 'Mars'"),
        ((KIND, "--every", "5m", "--catch-up", "some"), "catch_up is one of skip, once, all"),
        ((KIND, '{"a":1}', "--every", "5m"), "a: Unexpected"),
        (("nosuch", "--every", "5m"), "no job kind 'nosuch'"),
    ],
)
def test_what_does_not_fit_says_why(
    command: Command, arguments: tuple[str, ...], said: str
) -> None:
    done = command("add", "x", *arguments)
    assert (done.exit_code, said in done.stderr) == (2, True), done.output


def test_a_time_zone_that_this_machine_does_not_know_hides_no_schedule(
    command: Command, store: str
) -> None:
    command("add", "nightly", KIND, *NIGHTLY)
    database = open_database(store)
    with database.begin() as conn:
        conn.execute(update(tables.schedules).values(timezone="Atlantis/Capital"))
    database.close()
    assert "Atlantis/Capital" in command("list").stdout
    assert "no time zone 'Atlantis/Capital'" in read(command("list", "--json"))["problem"]
    shown = command("show", "nightly")
    assert (shown.exit_code, "no time zone" in shown.stderr) == (0, True)
