"""`milepost queues` and `milepost kinds`."""

from pathlib import Path

from tests.cli.commands import lines, milepost


def test_limits_and_pauses_are_set_and_shown(tmp_path: Path) -> None:
    done = milepost(tmp_path, "queues", "limit", "sync", "--concurrency", "3", "--rate", "600/5m")
    assert done.stdout == "queue sync: 3 at once, 600 in 5 m\n"
    done = milepost(tmp_path, "queues", "limit", "sync", "--length", "9", "--rate", "10/s")
    assert done.stdout == "queue sync: 3 at once, 10 in 1 s, 9 waiting\n"
    assert "3 at once, 10 in 1 s, 9 waiting" in milepost(tmp_path, "queues", "list").stdout
    [listed] = lines(milepost(tmp_path, "queues", "list", "--json"))
    assert listed["limits"] == {"concurrency": 3, "rate": 10, "per": 1.0, "length": 9}
    done = milepost(tmp_path, "queues", "limit", "sync", "--none")
    assert done.stdout == "queue sync has no limits\n"
    milepost(tmp_path, "kinds", "pause", "import-orders")
    assert milepost(tmp_path, "kinds", "paused").stdout == "import-orders\n"
    milepost(tmp_path, "kinds", "resume", "import-orders")
    assert milepost(tmp_path, "kinds", "paused").stdout == "no kind is paused\n"


def test_what_is_no_limit_is_refused(tmp_path: Path) -> None:
    done = milepost(tmp_path, "queues", "limit", "sync", "--rate", "fast")
    assert (done.returncode, "--rate takes a number and a time" in done.stderr) == (2, True)
    done = milepost(tmp_path, "queues", "limit", "sync")
    assert (done.returncode, "say which" in done.stderr) == (2, True)
