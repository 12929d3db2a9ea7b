"""Workers that are killed, stopped and told to go, as real processes."""

import signal
from pathlib import Path

import pytest

from milepost import Database
from tests.chaos.app import PAGES
from tests.chaos.conftest import rows
from tests.chaos.processes import (
    run,
    show,
    stop_outside_of_a_write,
    submit,
    until,
    worker,
)


@pytest.mark.parametrize("in_write", [False, True], ids=["before the write", "in the write"])
def test_promise_2_a_worker_that_slept_past_its_lease_writes_nothing_more(
    url: str, database: Database, tmp_path: Path, in_write: bool
) -> None:
    if in_write and database.is_sqlite:
        # A writer of SQLite that sleeps holds the file: nobody can take its job, nor need to.
        in_write = False
    job_id = submit(url, "pages", folder=str(tmp_path), wait_at=3, in_write=in_write)
    with worker(url, tmp_path / "first.log") as first:
        until((tmp_path / "reached").exists, "the third page")
        stop_outside_of_a_write(first, database)
        with worker(url, tmp_path / "second.log"):
            until(lambda: show(url, job_id)["state"] == "completed", "the second worker")
            (tmp_path / "go").touch()
            first.signal(signal.SIGCONT)
            until(lambda: first.said("lost its lease"), "the first worker to say why")

    written = rows(database)
    assert written[:2] == [(1, 1), (2, 1)]
    assert [page for page, _ in written] == [*range(1, PAGES + 1)]
    shown = show(url, job_id)
    # A busy machine may take the short lease of the second worker too: then it took one more.
    assert {attempt for _, attempt in written[2:]} <= {*range(2, shown["result"] + 1)}
    outcomes = [each["outcome"] for each in shown["attempts"]]
    assert outcomes == ["rescued"] * (shown["result"] - 1) + ["completed"]
    assert "it can write nothing more" in (tmp_path / "first.log").read_text()


def test_promise_3_a_killed_worker_is_noticed_at_the_next_start_and_its_job_goes_on(
    url: str, database: Database, tmp_path: Path
) -> None:
    job_id = submit(url, "pages", folder=str(tmp_path), wait_at=3)
    with worker(url, tmp_path / "first.log") as first:
        until((tmp_path / "reached").exists, "the third page")
        first.kill()
    with worker(url, tmp_path / "second.log") as second:
        until(lambda: show(url, job_id)["state"] == "completed", "the second worker")
        assert second.said("is dead")

    assert rows(database) == [(1, 1), (2, 1), *((page, 2) for page in range(3, PAGES + 1))]


def test_a_worker_that_is_told_to_stop_goes_at_once_and_its_job_goes_on_elsewhere(
    url: str, database: Database, tmp_path: Path
) -> None:
    job_id = submit(url, "pages", folder=str(tmp_path), wait_at=3)
    with worker(url, tmp_path / "first.log") as first:
        until((tmp_path / "reached").exists, "the third page")
        first.signal(signal.SIGTERM)
        until(lambda: first.said("stopping"), "the worker to stop taking jobs")
        (tmp_path / "go").touch()
        assert first.process.wait(30) == 0
    shown = show(url, job_id)
    assert (shown["state"], shown["failures"]) == ("available", 0)
    # It saved the page that it was at, and only then went.
    assert rows(database) == [(1, 1), (2, 1), (3, 1)]

    with worker(url, tmp_path / "second.log"):
        until(lambda: show(url, job_id)["state"] == "completed", "the second worker")
    assert rows(database)[3:] == [(page, 2) for page in range(4, PAGES + 1)]


def test_a_job_that_kills_three_workers_fails_with_that_reason(
    url: str, database: Database, tmp_path: Path
) -> None:
    job_id = submit(url, "kills-its-worker", folder=str(tmp_path), wait_at=0)
    for death in range(3):
        with worker(url, tmp_path / f"{death}.log") as victim:
            assert victim.process.wait(30) == -signal.SIGKILL
    with worker(url, tmp_path / "last.log"):
        until(lambda: show(url, job_id)["state"] == "failed", "the verdict")

    shown = show(url, job_id)
    assert "its worker died 3 times in a row" in shown["error"]
    assert [each["outcome"] for each in shown["attempts"]] == ["rescued"] * 3


@pytest.mark.parametrize("kind", ["sleeps", "saves"], ids=["coroutine", "thread"])
def test_promise_5_a_cancel_from_another_process_reaches_a_running_job(
    url: str, database: Database, tmp_path: Path, kind: str
) -> None:
    with worker(url, tmp_path / "log"):
        job_id = submit(url, kind, folder=str(tmp_path), wait_at=0)
        until((tmp_path / "reached").exists, "the job to run")
        done = run(url, "jobs", "cancel", str(job_id), "--reason", "enough")
        assert done.stdout == f"job {job_id} is cancelled\n"
        again = run(url, "jobs", "cancel", str(job_id))
        assert again.stdout == f"job {job_id} is cancelled\n"

    shown = show(url, job_id)
    assert (shown["state"], shown["cancel_reason"]) == ("cancelled", "enough")


def test_promise_5_an_available_job_that_is_cancelled_never_starts(
    url: str, database: Database, tmp_path: Path
) -> None:
    job_id = submit(url, "sleeps", folder=str(tmp_path), wait_at=0)
    assert run(url, "jobs", "cancel", str(job_id)).stdout == f"job {job_id} is cancelled\n"
    other = submit(url, "pages", folder=str(tmp_path), wait_at=0)
    with worker(url, tmp_path / "log"):
        until(lambda: show(url, other)["state"] == "completed", "the other job")
    assert show(url, job_id)["attempt"] == 0

    told = run(url, "jobs", "cancel", str(other)).stdout
    assert told == f"job {other} had finished first: it is completed\n"


def test_doctor_sends_small_jobs_through_a_live_worker(
    url: str, database: Database, tmp_path: Path
) -> None:
    with worker(url, tmp_path / "log"):
        done = run(url, "doctor", "--live")
    assert done.returncode == 0, done.stdout + done.stderr
    for said in (
        "returned 'done'",
        "reported 5 of 5",
        "succeeded in attempt 2",
        "stopped when told",
    ):
        assert said in done.stdout
