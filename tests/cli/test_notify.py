"""`milepost notify`, as people type it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from standardwebhooks import Webhook
from typer.testing import CliRunner, Result

from milepost.cli.main import app


class Hook(HTTPServer):
    posted: tuple[dict[str, str], bytes]
    status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class Answer(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.posted = ({key.lower(): value for key, value in self.headers.items()}, body)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    monkeypatch.chdir(tmp_path)

    def run_(*arguments: str, stdin: str | None = None) -> Result:
        env = {"DATABASE_URL": f"sqlite:///{tmp_path}/store.db", "MILEPOST_SECRET_KEY": None}
        return CliRunner(env=env).invoke(app, ["notify", *arguments], input=stdin)

    return iter([run_])


def test_a_route_is_added_tried_listed_and_removed(run: Iterator[object], hook: Hook) -> None:
    command = next(run)
    assert callable(command)
    assert command("list").stdout == "nobody is told of anything\n"
    added = command("add", "ops", hook.url, "--on", "job-failed", "--queue", "sync")
    assert added.exit_code == 0, added.output
    assert f"ops is told at http://127.0.0.1:{hook.server_port}/…. Try it:" in added.stdout
    assert "A key was made" in added.stdout
    secret = added.stdout.split("signed with ")[1].split(",")[0]

    assert command("test", "ops").stdout == "ops has taken a message\n"
    headers, body = hook.posted
    told = Webhook(secret).verify(body, headers)
    assert told["data"]["title"] == "Milepost: a test"
    hook.status = 500
    refused = command("test", "ops")
    assert refused.exit_code == 1
    assert "answered 500" in refused.stdout

    [route] = [json.loads(line) for line in command("list", "--json").stdout.splitlines()]
    assert (route["name"], route["about"], route["queue"]) == ("ops", ["job-failed"], "sync")
    assert secret not in command("list", "--json").stdout
    assert command("add", "ops", hook.url).exit_code == 2
    assert command("rm", "ops").exit_code == 0
    assert "there is no route 'ops'; there are: none" in command("rm", "ops").output


def test_an_address_may_come_by_standard_input_and_a_wrong_word_is_refused(
    run: Iterator[object],
) -> None:
    command = next(run)
    assert callable(command)
    assert command("add", "ops", stdin="https://hooks.example/x\n").exit_code == 0
    wrong = command("add", "b", "https://x", "--on", "failure")
    assert wrong.exit_code == 2
    assert "--on takes job-failed, job-recovered, schedule-missed" in wrong.output
