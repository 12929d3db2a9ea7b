"""Child processes end with their worker, however that ends; and what they have started with them."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.chaos import isolated
from tests.chaos.client import Client, client
from tests.chaos.isolated import Deed
from tests.chaos.processes import WorkerProcess, alive, below, until, worker
from tests.stores import Stores

APP = {
    "MILEPOST_APP": "tests.chaos.isolated:milepost",
    "MILEPOST_CONCURRENCY": "4",
    "MILEPOST_STOP_GRACE": "1s",
}

both_methods = pytest.mark.parametrize("method", ["fork", "spawn"])


@pytest.fixture
def store(stores: Stores, tmp_path: Path) -> Iterator[Client]:
    with client(stores.sqlite(tmp_path / "store.db")) as made:
        yield made


def begin(store: Client, folder: Path, *deeds: str) -> list[int]:
    """Submit a job for each deed; "save" is one that saves. Returns their ids."""
    return [
        store.submit(isolated.saves_in_process, Deed(str(folder)))
        if deed == "save"
        else store.submit(isolated.does, Deed(str(folder), deed))
        for deed in deeds
    ]


def at_work(store: Client, folder: Path, started: WorkerProcess, jobs: list[int]) -> None:
    """Wait until every handler is in the middle of what it does."""
    saving = [job_id for job_id in jobs if store.view(job_id).kind == "saves-in-process"]
    until(lambda: all(store.view(job_id).checkpoint for job_id in saving), "the jobs to save")
    if len(jobs) > len(saving):
        began = folder / "began"
        lines = len(jobs) - len(saving)
        until(
            lambda: began.exists() and len(began.read_text().splitlines()) == lines,
            "the other jobs to begin",
        )
    assert started.process.poll() is None


def none_left(processes: list[psutil.Process], since: float, after: str) -> None:
    until(lambda: not alive(processes), f"{len(processes)} processes to end")
    print(f"{after}: {len(processes)} processes were gone after {time.monotonic() - since:.2f} s")


def launcher_of(started: WorkerProcess) -> psutil.Process:
    [found] = [
        each
        for each in psutil.Process(started.process.pid).children()
        if any(part.endswith("launching.py") for part in each.cmdline())
    ]
    return found


@both_methods
def test_a_killed_worker_leaves_no_process(store: Client, tmp_path: Path, method: str) -> None:
    with worker(store.url, tmp_path / "log", MILEPOST_PROCESS_START=method, **APP) as first:
        jobs = begin(store, tmp_path, "spin", "spin-in-c", "with-sessions+wait", "save")
        at_work(store, tmp_path, first, jobs)
        started = below(first.process.pid)
        # The launcher, four children, and what one of them started: a program and a fork.
        assert len(started) == 7
        first.kill()
        none_left(started, time.monotonic(), f"SIGKILL of a worker that starts by {method}")


@both_methods
def test_a_stopped_worker_leaves_no_process_and_its_jobs_at_no_cost(
    store: Client, tmp_path: Path, method: str
) -> None:
    with worker(store.url, tmp_path / "log", MILEPOST_PROCESS_START=method, **APP) as first:
        jobs = begin(store, tmp_path, "spin", "with-sessions+spin-in-c", "ignore", "save")
        at_work(store, tmp_path, first, jobs)
        started = below(first.process.pid)
        told = time.monotonic()
        first.signal(signal.SIGTERM)
        assert first.process.wait(30) == 0
        none_left(started, told, f"SIGTERM of a worker that starts by {method}")
        assert not first.said("never retrieved"), first.log.read_text()

    for job_id in jobs:
        shown = store.show(job_id)
        assert (shown["state"], shown["failures"], shown["rescues"]) == ("available", 0, 0)
        assert [each["outcome"] for each in shown["attempts"]] == ["interrupted"]
    goes_on_from_its_checkpoint(store, tmp_path, jobs)


def goes_on_from_its_checkpoint(store: Client, folder: Path, jobs: list[int]) -> None:
    """Cancel the others, and complete the one that saves in a second worker."""
    *others, saved = jobs
    for job_id in others:
        store.command("jobs", "cancel", str(job_id))
    left_at = store.show(saved)["checkpoint"]["number"]
    assert left_at > 0
    (folder / "enough").touch()
    with worker(store.url, folder / "second.log", **APP):
        store.ended(saved)
    shown = store.show(saved)
    assert (shown["state"], shown["attempt"]) == ("completed", 2)
    assert shown["result"] == left_at


def test_a_worker_that_is_told_twice_waits_for_nobody(store: Client, tmp_path: Path) -> None:
    patient = {**APP, "MILEPOST_STOP_GRACE": "60s"}
    with worker(store.url, tmp_path / "log", **patient) as first:
        jobs = begin(store, tmp_path, "spin-in-c", "with-grandchildren+ignore", "save")
        at_work(store, tmp_path, first, jobs)
        started = below(first.process.pid)
        first.signal(signal.SIGTERM)
        until(lambda: first.said("stopping"), "the worker to heed the first signal")
        told = time.monotonic()
        first.signal(signal.SIGTERM)
        assert first.process.wait(30) == 0
        none_left(started, told, "a second SIGTERM")

    for job_id in jobs:
        shown = store.show(job_id)
        assert (shown["state"], shown["failures"]) == ("available", 0)
        assert [each["outcome"] for each in shown["attempts"]] == ["interrupted"]
    goes_on_from_its_checkpoint(store, tmp_path, jobs)


def test_ctrl_c_in_a_terminal_is_for_the_worker_alone(store: Client, tmp_path: Path) -> None:
    with worker(store.url, tmp_path / "log", **APP) as first:
        jobs = begin(store, tmp_path, "spin", "save")
        at_work(store, tmp_path, first, jobs)
        started = below(first.process.pid)
        told = time.monotonic()
        # As the terminal does: to the whole group in the foreground.
        os.killpg(first.process.pid, signal.SIGINT)
        assert first.process.wait(30) == 0
        none_left(started, told, "SIGINT to the group")
        assert not first.said("KeyboardInterrupt")

    for job_id in jobs:
        assert [each["outcome"] for each in store.show(job_id)["attempts"]] == ["interrupted"]
    goes_on_from_its_checkpoint(store, tmp_path, jobs)


@both_methods
def test_when_the_launcher_is_killed_the_worker_starts_another_and_the_jobs_go_on(
    store: Client, tmp_path: Path, method: str
) -> None:
    with worker(store.url, tmp_path / "log", MILEPOST_PROCESS_START=method, **APP) as only:
        jobs = begin(store, tmp_path, "with-grandchildren+wait", "save", "save")
        at_work(store, tmp_path, only, jobs)
        launcher, started = launcher_of(only), below(only.process.pid)
        assert len(started) == 6
        killed = time.monotonic()
        launcher.kill()
        none_left(started, killed, f"SIGKILL of a launcher that starts by {method}")
        store.command("jobs", "cancel", str(jobs[0]))
        until(lambda: all(store.view(job_id).attempt == 2 for job_id in jobs[1:]), "new attempts")
        print(f"the jobs were taken again after {time.monotonic() - killed:.2f} s")
        (tmp_path / "enough").touch()
        for job_id in jobs[1:]:
            assert store.ended(job_id).state == "completed"
        assert launcher_of(only).pid != launcher.pid
        assert not only.said("never retrieved")

    for job_id in jobs[1:]:
        shown = store.show(job_id)
        assert shown["failures"] == 0
        assert [each["outcome"] for each in shown["attempts"]] == ["crashed", "completed"]
        assert shown["result"] > 0
