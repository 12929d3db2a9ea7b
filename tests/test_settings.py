"""Every setting: checked once, documented, and a bad value says what it takes."""

from datetime import timedelta
from pathlib import Path

import pytest

from milepost import Settings, WorkerSettings
from milepost.errors import SettingInvalid
from milepost.settings import variables

OPERATIONS = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()


def test_every_setting_is_documented_with_its_default() -> None:
    for variable, default, help_text in variables():
        shown = f"`{default}`" if default else ""
        assert f"| `{variable}` | {shown} | {help_text} |" in OPERATIONS


def test_the_environment_is_read() -> None:
    settings = Settings.from_environment(
        {
            "DATABASE_URL": "postgresql://localhost/jobs",
            "MILEPOST_CONCURRENCY": "7",
            "MILEPOST_LEASE_FOR": "1500ms",
            "MILEPOST_STOP_GRACE": "2m",
            "MILEPOST_QUEUES": "sync, reports",
            "MILEPOST_QUEUE_CONCURRENCY": "sync=2, reports = 1",
        }
    )

    assert settings.database_url == "postgresql://localhost/jobs"
    assert settings.worker.concurrency == 7
    assert settings.worker.lease_for == timedelta(seconds=1.5)
    assert settings.worker.stop_grace == timedelta(minutes=2)
    assert settings.worker.queues == ("sync", "reports")
    assert settings.worker.queue_concurrency == (("sync", 2), ("reports", 1))


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    assert Settings.from_environment({"MILEPOST_CONCURRENCY": ""}) == Settings()


@pytest.mark.parametrize(
    ("variable", "held", "takes"),
    [
        ("MILEPOST_CONCURRENCY", "many", "a whole number, at least 1"),
        ("MILEPOST_CONCURRENCY", "0", "a whole number, at least 1"),
        ("MILEPOST_CONCURRENCY", "1.5", "a whole number, at least 1"),
        ("MILEPOST_LEASE_FOR", "soon", "a duration such as 500ms, 30s, 5m, 2h or 7d, at least"),
        ("MILEPOST_LEASE_FOR", "10ms", "a duration such as 500ms, 30s, 5m, 2h or 7d, at least"),
        ("MILEPOST_STOP_GRACE", "-1s", "a duration such as"),
        ("MILEPOST_LEASE_FOR", "99999999999999d", "a duration such as"),
        ("MILEPOST_LEASE_FOR", "9" * 400, "a duration such as"),
        ("MILEPOST_CONCURRENCY", "9" * 5000, "a whole number, at least 1"),
        ("MILEPOST_QUEUES", ",", "names with commas between them"),
        *(
            ("MILEPOST_QUEUE_CONCURRENCY", held, "names with a whole number for each, at least 1")
            for held in (
                "2",
                "sync",
                "sync=",
                "=2",
                "sync=0",
                "sync=-1",
                "sync=1.5",
                "sync=2,",
                "sync=2 reports=1",
                "sync=2, sync=3",
                "sync=" + "9" * 5000,
            )
        ),
    ],
)
def test_a_bad_value_is_one_line_that_says_it_all(variable: str, held: str, takes: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        Settings.from_environment({variable: held})

    said = str(caught.value)
    assert said.startswith(f"{variable} is {held!r}, but takes {takes}")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ("mysql://me@h/d", "'mysql://me@h/d', but takes sqlite:///FILE, the path of a"),
        ("://", "'://', but takes sqlite:///FILE, the path of a SQLite file, or postgresql://"),
        ("mysql://me:hunter2@h/d", "'mysql://me:***@h/d', but takes"),
        ("postgresql://root@h:abc/x", "'postgresql://root@h:abc/x', but takes a port from 1 to 65535"),
        ("postgresql://h:99999/x", "'postgresql://h:99999/x', but takes a port from 1 to 65535"),
        ("postgresql://me:hunter2/@x@h:abc/x?password=hunter2", "'postgresql://me:***@h:abc/x?password=***'"),
        ("duckdb:///x", "'duckdb:///x', but takes sqlite:///FILE, the path of a SQLite file, or postgresql:"),
        ("x.duckdb", "'x.duckdb', but takes sqlite:///FILE"),
        ("sqlite://", "'sqlite://', but takes a file, sqlite:///FILE"),
    ],
)  # fmt: skip
def test_a_bad_database_url_is_named_and_its_password_is_not(held: str, said: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        Settings.from_environment({"DATABASE_URL": held})
    assert str(caught.value).startswith(f"DATABASE_URL is {said}")


def test_settings_made_in_code_are_checked_too() -> None:
    with pytest.raises(ValueError, match="concurrency must be at least 1, not 0"):
        WorkerSettings(concurrency=0)
    with pytest.raises(ValueError, match="queue_concurrency of sync must be at least 1, not 0"):
        WorkerSettings(queue_concurrency=(("sync", 0),))
