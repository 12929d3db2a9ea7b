"""Children that die without a job, that nobody tells of, or that cannot start."""

import logging
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from milepost.errors import JobCancelled
from milepost.jobs.outcomes import Cancelled, Completed, Crashed
from milepost.pools.process import children as process_children
from milepost.pools.process import pool as process_pool
from tests.pools.conftest import Open
from tests.pools.rig import SOON, Rig, children, descriptors, launchers, pid_of, ready_children


def kill_one_that_is_ready(pool: Rig) -> int:
    pool.until(lambda: ready_children(pool))
    [pid] = ready_children(pool)
    os.kill(pid, signal.SIGKILL)
    return pid


def pauses(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of starts that failed."""
    messages = [record.getMessage() for record in list(caplog.records)]
    return [each for each in messages if each.startswith("a child process could not be started")]


def test_a_child_that_dies_without_a_job_is_logged_and_another_takes_its_place(
    open_rig: Open, caplog: pytest.LogCaptureFixture
) -> None:
    pool = open_rig(least=1, most=1)
    pool.run("answers", 1)
    died = kill_one_that_is_ready(pool)
    pool.until(lambda: caplog.records)

    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(
        "without a job, its process was killed by signal 9 (SIGKILL)"
    )
    assert pool.run("tells-its-process") != Completed(str(died))


def test_a_child_gets_no_job_while_it_dies(open_rig: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_children, "CHANNEL_GRACE", 2 * SOON)
    pool = open_rig(least=1, most=1)
    pool.run("answers", 1)
    [launcher] = launchers(pool)
    # It tells of no death meanwhile: all that is known is that the child says nothing any more.
    launcher.suspend()
    kill_one_that_is_ready(pool)
    pool.until(lambda: pool.pool.room() == 0)
    attempt = pool.attempt("answers", 1)
    pool.pool.run([attempt])
    launcher.resume()

    assert pool.outcome(attempt) == Completed("2")


def test_children_that_die_before_they_have_run_anything_are_paused_for(
    open_rig: Open, caplog: pytest.LogCaptureFixture
) -> None:
    pool = open_rig(least=1, most=1)
    for times in (1, 2):
        kill_one_that_is_ready(pool)
        pool.until(lambda times=times: len(pauses(caplog)) == times)

    assert pauses(caplog) == [
        f"a child process could not be started, next try in {seconds} s: it ended before it had "
        "run anything"
        for seconds in (0.5, 1.0)
    ]


def test_an_attempt_ends_even_where_nobody_tells_of_the_end_of_its_process(
    open_rig: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_children, "KILL_SEEN_WITHIN", 0.1)
    pool = open_rig(least=1, most=1)
    attempt = pool.start("looks")
    [launcher] = launchers(pool)
    launcher.suspend()
    os.kill(pid_of(pool, attempt), signal.SIGKILL)

    assert isinstance(pool.outcome(attempt), Crashed)
    launcher.resume()


def test_a_child_that_is_lost_sight_of_is_killed_and_leaves_nothing_open(
    open_rig: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = open_rig(least=1, most=1)
    pool.run("answers", 1)
    before = descriptors()
    lost: list[psutil.Process] = []

    def look(pid: int) -> psutil.Process:
        found = psutil.Process(pid)
        if not lost:
            lost.append(found)
            # So it does not go by itself where its channel is closed.
            found.suspend()
            raise OSError("too many open files")
        return found

    looks = SimpleNamespace(Process=look, Error=psutil.Error)
    monkeypatch.setattr(process_children, "psutil", looks)
    kill_one_that_is_ready(pool)

    pool.until(lambda: lost and not lost[0].is_running())
    pool.until(lambda: ready_children(pool))
    assert pool.run("answers", 1) == Completed("2")
    pool.until(lambda: descriptors() == before)


def test_hundreds_that_wait_and_were_told_to_stop_go_back(
    open_rig: Open, caplog: pytest.LogCaptureFixture
) -> None:
    pool = open_rig(least=1, most=1, most_waiting=1000)
    pool.run("answers", 1)
    attempts = pool.attempts("answers", 1, count=600)
    for attempt in attempts:
        attempt.token.stop(JobCancelled("no need"))
    pool.pool.run(attempts)

    ended: dict[Any, Any] = dict(pool.done.get(timeout=SOON) for _ in attempts)
    assert ended == dict.fromkeys(attempts, Cancelled("no need"))
    assert pool.run("answers", 1) == Completed("2")
    assert not caplog.records


def test_starts_that_fail_together_are_one_failure_and_who_is_ready_works_on(
    open_rig: Open,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = tmp_path / "broken"
    monkeypatch.setenv("BREAKS_WHILE", str(broken))
    # So that all that follows happens in the first pause.
    monkeypatch.setattr(process_pool, "FIRST_PAUSE", process_pool.LONGEST_PAUSE)
    pool = open_rig(least=1, most=4, start="spawn")
    pool.run("answers", 1)
    broken.touch()
    attempts = pool.attempts("looks", 0, count=4)
    pool.pool.run(attempts)
    for waits in attempts[1:]:
        waits.token.stop(JobCancelled("no need"))
        assert pool.outcome(waits) == Cancelled("no need")
    pool.until(lambda: pauses(caplog))
    pool.until(lambda: len(children(pool)) == 1)
    attempts[0].token.stop(JobCancelled("enough"))
    assert pool.outcome(attempts[0]) == Cancelled("enough")

    pool.until(lambda: pool.pool.room() == 1)
    assert pool.run("answers", 1) == Completed("2")
    assert pauses(caplog) == [
        "a child process could not be started, next try in 30.0 s: RuntimeError: no licence"
    ]
