"""What an application does at import, in the process that starts the children or in each of them."""

import os
import signal
import sys

import pytest

from milepost.jobs.outcomes import Completed, Crashed
from tests.pools.conftest import Open
from tests.pools.rig import children, launchers, pid_of


@pytest.mark.parametrize(
    "meddles", ["default-sigchld", "ignore-sigchld", "reap", "wake-nobody", "heed-sigterm"]
)
def test_whatever_an_application_does_to_signals_deaths_are_told_and_nothing_is_left(
    open_rig: Open, monkeypatch: pytest.MonkeyPatch, meddles: str
) -> None:
    monkeypatch.setenv("AT_IMPORT", meddles)
    pool = open_rig(least=1, most=1)
    attempt = pool.start("looks")
    [launcher] = launchers(pool)
    # As a service manager does when it stops a service: that is for the worker to heed.
    launcher.send_signal(signal.SIGTERM)
    os.kill(pid_of(pool, attempt), signal.SIGKILL)

    # Only the launcher can know that.
    outcome = pool.outcome(attempt)
    assert isinstance(outcome, Crashed)
    assert outcome.error.startswith("its process was killed by signal 9 (SIGKILL)")
    assert pool.run("answers", 1) == Completed("2")
    assert launchers(pool) == [launcher]
    [child] = children(pool)
    pool.pool.close()
    assert not any(each.is_running() for each in (launcher, child))


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("meddles", ["close-stdout", "forget-stdout"])
def test_an_application_without_standard_output_runs_and_ends_as_any_other(
    open_rig: Open,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    start: str,
    meddles: str,
) -> None:
    monkeypatch.setenv("AT_IMPORT", meddles)
    pool = open_rig(least=1, most=1, start=start)

    assert pool.run("answers", 1) == Completed("2")
    pool.pool.close()
    # A child that fails says so there.
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["echoes", "echoes-async"])
def test_an_object_that_is_called_is_found_by_its_definition_s_name(
    open_rig: Open, kind: str
) -> None:
    pool = open_rig(least=1, most=1)
    assert pool.run(kind, 7) == Completed("7")


def test_names_that_are_longer_than_what_a_socket_holds_reach_the_launcher(
    open_rig: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = [f"/nowhere/{'x' * 200}/{number}" for number in range(4000)]
    monkeypatch.setattr(sys, "path", [*sys.path, *nowhere])
    pool = open_rig(least=1, most=1)

    assert pool.run("answers", 1) == Completed("2")
