"""`milepost jobs`, on a store with jobs in every state of their lives."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from milepost.jobs.leases import Settlement
from milepost.jobs.outcomes import Failed, Misfit, Outcome, Snoozed
from milepost.jobs.requests import JobRequest
from milepost.store import jobs, schema
from milepost.store.database import Database, open_database
from tests.cli.commands import lines, milepost


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(str(tmp_path / "milepost.db"))
    schema.migrate(opened)
    yield opened
    opened.close()


def run_once(database: Database, outcome: Outcome, *, kind: str = "k") -> int:
    request = JobRequest(kind=kind, args="{}", queue="q", priority=0, max_attempts=1)
    with database.begin() as conn:
        jobs.submit(conn, database.clock, [request])
        [job] = jobs.claim(
            conn, database.clock, queue="q", kinds=[kind], limit=1,
            lease_for=timedelta(minutes=1), worker_id="w",
        )  # fmt: skip
        jobs.settle(conn, database.clock, [Settlement(job, outcome)])
    return job.lease.job_id


def test_show_says_why_a_job_was_snoozed(database: Database, tmp_path: Path) -> None:
    job_id = run_once(database, Snoozed(timedelta(hours=1), "the shop is closed"))
    shown = milepost(tmp_path, "jobs", "show", str(job_id)).stdout
    assert "snoozed after 0 s, worker w\n  the shop is closed" in shown


def test_show_says_that_a_job_is_left_for_a_newer_worker(
    database: Database, tmp_path: Path
) -> None:
    job_id = run_once(database, Misfit("args of k does not fit Old"))
    shown = milepost(tmp_path, "jobs", "show", str(job_id)).stdout
    assert "0 of 1 failures" in shown
    assert "error        args of k does not fit Old" in shown
    assert "misfit (left for a newer worker) after 0 s, worker w\n  args of k does not" in shown


def test_in_a_pipe_a_job_is_one_line_whatever_it_holds(database: Database, tmp_path: Path) -> None:
    error = "no such shop, nor any other by a name that is like it, on that street"
    first = run_once(database, Failed(error), kind="import-the-orders-of-all-shops-of-the-company")
    second = run_once(database, Failed(f"{error}\nand more"))
    listed = milepost(tmp_path, "jobs", "list", COLUMNS="80").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["id", str(second), str(first)]
    assert all(line.endswith(error[:60].rstrip()) for line in listed[1:])


def test_show_draws_who_waits_for_whom(database: Database, tmp_path: Path) -> None:
    failed = run_once(database, Failed("no such shop", recoverable=False), kind="count")

    def submit(**options: Any) -> int:
        defaults = {"args": "{}", "queue": "q", "priority": 0, "max_attempts": 1}
        request = JobRequest(**{**defaults, **options})
        with database.begin() as conn:
            [submitted] = jobs.submit(conn, database.clock, [request])
        return submitted.job_id

    middle = submit(kind="report", after=(failed,), on_failure="fail")
    other = submit(kind="count")
    top = submit(kind="send", after=(middle, other), on_failure="go-on")
    shown = milepost(tmp_path, "jobs", "show", str(top)).stdout
    assert "state        scheduled (waits for others)" in shown
    assert "runs at" not in shown
    assert "waits for    2: 1 available, 1 failed" in shown
    why = f"job {failed} (count), which it waits for, failed: no such shop"
    assert f"  {middle} report  failed  {why[:60]}\n    {failed} count  failed  no such" in shown
    assert f"  {other} count  available\n" in shown
    [described] = lines(milepost(tmp_path, "jobs", "show", str(middle), "--json"))
    assert described["parents"] == [
        {"id": top, "kind": "send", "state": "scheduled", "error": None}
    ]
    assert [each["under"] for each in described["children"]] == [middle]
    assert described["children_by_state"] == {"failed": 1}
    assert f"job {middle} waits for others again" in (
        milepost(tmp_path, "jobs", "retry", str(middle)).stdout
    )
