"""The command line as a user meets it: exit codes, one-line errors, JSON for programs."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from milepost.store.schema import HEAD
from tests.chaos.processes import MILEPOST, until
from tests.cli.commands import environment, lines, milepost


def test_the_demo_downloads_shows_and_may_be_run_again(tmp_path: Path) -> None:
    first = milepost(tmp_path, "demo", "--quick")
    assert first.returncode == 0, first.stderr
    for said in ("customers: 2,000 rows", "orders: 5,000 rows", "Ada Adeyemi", "Try next"):
        assert said in first.stdout
    again = milepost(tmp_path, "demo", "--quick", "--json")
    assert again.returncode == 0, again.stderr
    assert lines(again)[-1]["event"] == "completed"
    url = f"sqlite:///{tmp_path}/milepost-demo.db"
    listed = lines(milepost(tmp_path, "jobs", "list", "--json", DATABASE_URL=url))
    assert [(job["id"], job["state"]) for job in listed] == [(2, "completed"), (1, "completed")]


def test_the_commands_of_the_demo_are_quoted_for_the_shell(tmp_path: Path) -> None:
    said = milepost(tmp_path, "demo", "--quick", "--into", "sp ace.db").stdout
    assert "  milepost demo --into 'sp ace.db'\n" in said
    assert "  export DATABASE_URL='sqlite:///sp ace.db'\n" in said


def test_a_download_that_fails_says_how_to_go_on_and_how_to_begin_anew(tmp_path: Path) -> None:
    source = tmp_path / "people.jsonl"
    good = [json.dumps({"id": number, "name": f"n{number}"}) for number in range(4)]
    source.write_text("\n".join([*good[:2], '{"name": "no id"}', good[3]]) + "\n")
    command = (
        "download", "people.jsonl", "--into", "people.db", "--page-size", "2",
        "--quarantine-limit", "0", "--commit-within", "0",
    )  # fmt: skip

    failed = milepost(tmp_path, *command)
    assert failed.returncode == 1
    assert "record 3, field 'id'" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert f"milepost {' '.join(command)}" in failed.stdout

    source.write_text(good[0] + "\n")
    changed = milepost(tmp_path, *command)
    assert changed.returncode == 1
    assert f"or begin anew:\n  milepost {' '.join(command)} --full\n" in changed.stdout
    source.unlink()
    gone = milepost(tmp_path, *command, "--full")
    assert gone.returncode == 1
    assert f"this goes on:\n  milepost {' '.join(command)}\n" in gone.stdout
    assert "anew" not in gone.stdout
    source.write_text("\n".join(good) + "\n")
    done = milepost(tmp_path, *command, "--full")
    assert done.returncode == 0, done.stderr


def test_ctrl_c_keeps_what_is_committed_and_says_the_command_that_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen([*MILEPOST, "demo"], cwd=tmp_path, stdout=out, stderr=out)
    until(lambda: "customers: page" in log.read_text(), "a page")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert "Stopped after" in log.read_text()
    assert "This goes on:\n  milepost demo\n" in log.read_text()

    again = milepost(tmp_path, "demo", "--quick")
    assert again.returncode == 0
    assert "Going on with job 1 after" in again.stdout


def test_a_secret_is_neither_stored_nor_shown(tmp_path: Path) -> None:
    def stored() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.glob("milepost.db*"))

    def has_failed() -> bool:
        shown = milepost(tmp_path, "jobs", "show", "1", "--json")
        return shown.returncode == 0 and json.loads(shown.stdout)["failures"] > 0

    command = [
        *MILEPOST, "download", "nosuch.csv", "--into",
        "postgresql://u:hunter2secret@127.0.0.1:1/x",
    ]  # fmt: skip
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        # It would be tried again for half a minute.
        until(has_failed, "the first failure")
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=60)
    shown = milepost(tmp_path, "jobs", "show", "1").stdout
    assert b"nosuch.csv" in stored()
    assert b"hunter2secret" not in stored()
    assert "postgresql://u:" in told
    assert "hunter2secret" not in told + shown


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("jobs", "show", "77"), 1, "no job 77 in this store"),
        (("jobs", "list", "--state", "lost"), 2, "--state takes scheduled, available"),
        (("submit", "nosuch"), 2, "no job kind 'nosuch'; known kinds: download-records"),
        (("submit", "milepost-check-succeed", '{"a":1}'), 2, "a: Unexpected"),
        (("submit", "milepost-check-succeed", "{"), 2, "does not fit CheckArgs"),
        (("submit", "milepost-check-succeed", "--priority", "-1"), 2, "priority is 0 to"),
        (("worker", "nosuch:app"), 2, "no module 'nosuch' here"),
        (("download", "x.csv", "--into", "mysql://h/d"), 2, "'mysql://h/d' is no database"),
        (("download", "x.csv", "--into", "x.db", "--header", "A: b"), 2, ": --header are"),
        (("download", "x.csv", "--into", "x.db", "--param", "a=b"), 2, ": --param are"),
        (("download", "x.csv", "--into", "x.db", "--table", "a=b"), 2, "holds one table"),
        (("download", "http://h/x", "--into", "x.db", "--header", "X-T"), 2, "takes 'Name: value'"),
        (("download", "http://h/x", "--into", "x.db", "--param", "no"), 2, "takes 'name=value'"),
        (("download", "http://h/x", "--into", "x.db", "--basic-auth", "u"), 2, "user:$PASSWORD"),
        (("download", "x.csv", "--into", "x.db", "--mode", "append", "--key", "id"), 2, "no --key"),
        (("download", "x.csv", "--into", "/no/x.db"), 2, "'/no/x.db' is no database"),
        (("demo", "--into", "/no/x.db"), 2, "a folder that exists; /no is none"),
        (("nosuch",), 2, "No such command"),
        (("jobs", "show", "9" * 23), 2, "equal to 9223372036854775807"),
        (("jobs", "list", "--before", "9" * 23), 2, "equal to 9223372036854775807"),
        (
            ("submit", "milepost-check-succeed", "--delay", "999999999999d"),
            2,
            "at most 36500d, not",
        ),
        (("submit", "milepost-check-succeed", "--delay", "9" * 400), 2, "at most 36500d, not"),
        (("worker", ":x"), 2, "APP is ':x', but takes module:attribute"),
        (("worker", ".x"), 2, "APP is '.x', but takes module:attribute"),
    ],
)
def test_what_cannot_be_is_one_line_and_an_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = milepost(tmp_path, *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_setting_stops_the_start(tmp_path: Path) -> None:
    done = milepost(tmp_path, "doctor", MILEPOST_CONCURRENCY="many")
    assert (done.returncode, done.stderr) == (
        2,
        "milepost: MILEPOST_CONCURRENCY is 'many', but takes a whole number, at least 1\n",
    )


def test_a_bad_application_is_named_by_its_variable(tmp_path: Path) -> None:
    done = milepost(tmp_path, "doctor", MILEPOST_APP=":x")
    assert (done.returncode, done.stderr) == (
        2,
        "milepost: MILEPOST_APP is ':x', but takes module:attribute, such as shop.jobs:milepost\n",
    )


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_full_disk_behind_the_output_is_one_line(tmp_path: Path, options: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*MILEPOST, "submit", "milepost-check-succeed", *options],
            cwd=tmp_path, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True,
            timeout=60, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        1, "milepost: [Errno 28] No space left on device: 'standard output'\n"
    )  # fmt: skip


def test_nothing_is_submitted_where_the_destination_cannot_be(tmp_path: Path) -> None:
    milepost(tmp_path, "download", "x.csv", "--into", "/no/x.db")
    assert "no jobs" in milepost(tmp_path, "jobs", "list").stdout


def test_doctor_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    assert milepost(tmp_path, "doctor").returncode == 0
    away = milepost(tmp_path, "doctor", DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert away.returncode == 1
    assert "WRONG  store" in away.stdout
    assert "see that DATABASE_URL is right" in away.stdout


def test_postgresql_is_migrated_on_request_only(tmp_path: Path, postgres_url: str) -> None:
    refused = milepost(tmp_path, "jobs", "list", DATABASE_URL=postgres_url)
    assert refused.returncode == 1
    assert "run `milepost migrate`" in refused.stderr
    assert milepost(tmp_path, "migrate", DATABASE_URL=postgres_url).returncode == 0
    twice = milepost(tmp_path, "migrate", "--json", DATABASE_URL=postgres_url)
    assert lines(twice) == [{"event": "migrated", "from": HEAD, "to": HEAD}]
    assert "no jobs" in milepost(tmp_path, "jobs", "list", DATABASE_URL=postgres_url).stdout


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_who_stops_reading_stops_the_download_as_ctrl_c_does(
    tmp_path: Path, options: list[str]
) -> None:
    process = subprocess.Popen(
        [*MILEPOST, "demo", *options],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if "customers: page" in line:
            break
    process.stdout.close()
    assert process.wait(30) == 130
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert "milepost demo" in said
    assert "Traceback" not in said

    url = f"sqlite:///{tmp_path}/milepost-demo.db"
    [job] = lines(milepost(tmp_path, "jobs", "list", "--json", DATABASE_URL=url))
    # Its attempt was interrupted: nobody has to rescue it.
    assert (job["state"], job["failures"]) == ("available", 0)
    assert job["checkpoint"] is not None
