"""What only child processes do: they come and go, and what happens in one hurts no other."""

import os
import signal
import threading
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from milepost.errors import JobCancelled, JobInterrupted
from milepost.jobs.outcomes import Cancelled, Completed, Crashed, Interrupted
from milepost.pools.process import pool as process_pool
from tests.pools.conftest import Open
from tests.pools.rig import SOON, children, launchers, pid_of


def test_as_many_are_ready_as_the_minimum_says(open_rig: Open) -> None:
    pool = open_rig(least=2, most=3)
    pool.until(lambda: len(children(pool)) == 2)


def test_more_come_on_demand_up_to_the_maximum_and_go_when_idle(open_rig: Open) -> None:
    pool = open_rig(least=1, most=3, idle_for=timedelta(seconds=0.2))
    attempts = pool.attempts("looks", 0, count=3)
    pool.pool.run(attempts)

    pool.until(lambda: len(children(pool)) == 3)
    for attempt in attempts:
        attempt.token.stop(JobCancelled("enough"))
    pool.until(lambda: len(children(pool)) == 1)


def test_with_a_minimum_of_none_none_stays(open_rig: Open) -> None:
    pool = open_rig(least=0, most=1, idle_for=timedelta(0))

    assert pool.run("answers", 1) == Completed("2")
    pool.until(lambda: not children(pool))


def test_a_child_is_replaced_after_so_many_jobs(open_rig: Open) -> None:
    pool = open_rig(least=1, most=1, most_jobs=2)

    # Each child's own container counts from one.
    assert [pool.run("counts") for _ in range(5)] == [
        Completed(each) for each in ("1", "2", "1", "2", "1")
    ]


def test_a_child_that_has_grown_is_replaced(open_rig: Open) -> None:
    # Every process is larger than this.
    pool = open_rig(least=1, most=1, most_memory=1_000_000)

    assert pool.run("counts") == Completed("1")
    # Each child's own container counts from one.
    pool.until(lambda: pool.run("counts") == Completed("1"))


def test_a_full_pool_has_no_room_until_one_ends(open_rig: Open) -> None:
    pool = open_rig(least=1, most=2)
    pool.until(lambda: pool.pool.room() == 2)
    attempts = pool.attempts("looks", 0, count=2)
    pool.pool.run(attempts)
    assert pool.pool.room() == 0

    attempts[0].token.stop(JobCancelled("enough"))
    assert pool.outcome(attempts[0]) == Cancelled("enough")
    # One child is free; and where one ended just now, another may wait a moment.
    assert pool.pool.room() in (1, 2)
    pool.until(lambda: pool.pool.room() == 1)
    attempts[1].token.stop(JobCancelled("enough"))
    pool.outcome(attempts[1])


def test_nobody_waits_where_nobody_may(open_rig: Open) -> None:
    pool = open_rig(least=1, most=1, most_waiting=0)
    pool.run("answers", 1)

    assert pool.pool.room() == 1


def test_what_waits_for_too_long_goes_back_at_no_cost(open_rig: Open) -> None:
    pool = open_rig(least=1, most=1)
    runs, waits = pool.attempts("looks", 0, count=2)
    pool.pool.run([runs, waits])

    assert pool.outcome(waits) == Interrupted()
    assert waits.began is None
    runs.token.stop(JobCancelled("enough"))
    assert pool.outcome(runs) == Cancelled("enough")


def test_what_goes_back_makes_no_room_for_more(open_rig: Open) -> None:
    pool = open_rig(least=1, most=1)
    runs, *wait = pool.attempts("looks", 0, count=5)
    pool.pool.run([runs, *wait])

    ended = {pool.done.get(timeout=SOON)[0] for _ in wait}
    assert ended == set(wait)
    assert pool.pool.room() == 0
    runs.token.stop(JobCancelled("enough"))
    pool.outcome(runs)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_an_import_that_hangs_is_given_up_and_tried_again(
    open_rig: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    (tmp_path / "hangs").touch()
    monkeypatch.setenv("HANGS_WHILE", str(tmp_path / "hangs"))
    monkeypatch.setattr(process_pool, "START_WITHIN", 0.5)
    pool = open_rig(least=0, most=1, start=start)
    attempt = pool.attempt("answers", 1)
    pool.pool.run([attempt])
    assert pool.outcome(attempt) == Interrupted()

    monkeypatch.setattr(process_pool, "START_WITHIN", SOON)
    (tmp_path / "hangs").unlink()
    pool.until(lambda: pool.pool.room() == 1)
    assert pool.run("answers", 1) == Completed("2")


def test_what_waits_is_cancelled_at_once(open_rig: Open) -> None:
    pool = open_rig(least=1, most=1)
    runs, waits = pool.attempts("looks", 0, count=2)
    pool.pool.run([runs, waits])
    waits.token.stop(JobCancelled("no need"))

    assert pool.outcome(waits) == Cancelled("no need")
    runs.token.stop(JobCancelled("enough"))
    pool.outcome(runs)


def test_a_child_that_dies_takes_its_own_attempt_along_and_no_other(open_rig: Open) -> None:
    pool = open_rig(least=2, most=2)
    attempts = pool.attempts("looks", 0, count=2)
    pool.pool.run(attempts)
    pool.until(lambda: all(pool.pool.where(each) for each in attempts))
    dies, lives = attempts
    os.kill(pid_of(pool, dies), signal.SIGKILL)

    outcome = pool.outcome(dies)
    assert isinstance(outcome, Crashed)
    assert outcome.error.startswith(
        "its process was killed by signal 9 (SIGKILL), by somebody or by the system for want of "
        "memory; it used "
    )
    assert pool.done.empty()
    lives.token.stop(JobCancelled("enough"))
    assert pool.outcome(lives) == Cancelled("enough")
    assert pool.run("answers", 1) == Completed("2")


def test_the_launcher_may_die_and_another_takes_its_place(open_rig: Open) -> None:
    pool = open_rig(least=1, most=1)
    attempt = pool.start("looks")
    [launcher] = launchers(pool)
    before = children(pool)
    launcher.kill()

    assert isinstance(pool.outcome(attempt), Crashed)
    psutil.wait_procs(before, timeout=SOON)
    assert not any(child.is_running() for child in before)
    assert pool.run("answers", 1) == Completed("2")


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_both_ways_to_start_work(open_rig: Open, start: str) -> None:
    pool = open_rig(least=1, most=1, start=start)

    assert pool.run("answers", 1) == Completed("2")
    [child] = children(pool)
    # A fork has its launcher's command line, a new interpreter one of its own.
    assert ("launching.py" in " ".join(child.cmdline())) == (start == "fork")


def test_closing_ends_what_runs_and_leaves_nothing(open_rig: Open) -> None:
    pool = open_rig(least=2, most=2)
    pool.start("sleeps")
    threads = threading.active_count()
    processes = [*launchers(pool), *children(pool)]
    pool.pool.close()

    assert not any(each.is_running() for each in processes)
    assert threading.active_count() == threads - 1


def test_closing_does_not_wait_for_what_has_not_started(open_rig: Open) -> None:
    pool = open_rig(least=2, most=2)
    pool.until(lambda: launchers(pool))
    processes = launchers(pool)
    pool.pool.close()

    assert not any(each.is_running() for each in processes)


def test_sigterm_from_elsewhere_is_for_the_worker_to_heed(open_rig: Open) -> None:
    # A service manager sends it to every process of a service at once.
    pool = open_rig(least=1, most=1)
    attempt = pool.start("looks")
    os.kill(pid_of(pool, attempt), signal.SIGTERM)
    heard = attempt.heard_at
    assert pool.done.empty()

    attempt.token.stop(JobInterrupted("the worker is stopping"))
    assert pool.outcome(attempt) == Completed('"saw that the worker stops"')
    assert attempt.heard_at == heard


def test_a_copy_that_a_handler_forks_says_nothing(open_rig: Open) -> None:
    pool = open_rig(least=1, most=1)

    assert pool.run("forks") == Completed('"parent"')
    assert pool.run("forks") == Completed('"parent"')
    assert pool.done.empty()
