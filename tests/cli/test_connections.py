"""`milepost connections`, as a person types it."""

import asyncio
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import update
from typer.testing import CliRunner, Result

from milepost import open_database
from milepost.cli.main import app
from milepost.connections import make_key
from milepost.store import schema
from milepost.store.tables import connections
from tests.connectors.conftest import Serve, serve

__all__ = ["serve"]

SHOP = ["add", "shop", "https://shop.example/v1", "--table", "orders"]
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `milepost connections` in a folder of its own, in this process."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "MILEPOST_SECRET_KEY", "MILEPOST_SECRET_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)

    def run_(*arguments: str, stdin: str | None = None, **env: str) -> Result:
        given = arguments if arguments[0] == "doctor" else ("connections", *arguments)
        return CliRunner(env=env).invoke(app, given, input=stdin)

    return run_


def test_a_connection_from_its_beginning_to_its_end(run: Run, tmp_path: Path) -> None:
    added = run(*SHOP, "--header", "Authorization: Bearer hunter2")
    assert added.exit_code == 0, added.output
    assert "A key was made: milepost.key, which only you can read." in added.output
    assert "shop is stored, with the credentials HEADER_AUTHORIZATION, encrypted." in added.output
    assert stat.S_IMODE((tmp_path / "milepost.key").stat().st_mode) == 0o600

    shown = run("show", "shop")
    assert "{'Authorization': 'Bearer $HEADER_AUTHORIZATION'}" in shown.output
    assert "credentials      HEADER_AUTHORIZATION" in shown.output
    assert "shop  http  https://shop.example/v1  encrypted" in run("list").output

    again = run(*SHOP)
    assert (again.exit_code, "--replace puts this in its place" in again.output) == (2, True)
    assert run(*SHOP, "--replace").exit_code == 0
    assert "credentials      none" in run("show", "shop").output

    unanswered = run("rm", "shop", stdin="")
    assert (unanswered.exit_code, "say --yes" in unanswered.output) == (2, True)
    assert run("rm", "shop", "--yes").exit_code == 0
    assert run("list").output == "no connections\n"
    missing = run("show", "shop")
    assert (missing.exit_code, "there are: none" in missing.output) == (1, True)
    outputs = added.output + shown.output
    assert "hunter2" not in outputs


def test_secrets_are_typed_referred_to_or_read(run: Run) -> None:
    added = run(
        *SHOP, "--header", "X-Auth: $HEADER", "--param", "api_key=typed", "--basic-auth", "me:$PW",
        "--secret", "PW", "--json", stdin="of stdin\n",
    )  # fmt: skip
    assert added.exit_code == 0, added.output
    made, stored = map(json.loads, added.stdout.splitlines())
    assert made == {"event": "key made", "file": "milepost.key"}
    assert stored == {
        "event": "added", "connection": "shop", "credentials": ["PARAM_API_KEY", "PW"],
    }  # fmt: skip
    shown = json.loads(run("show", "shop", "--json").stdout)
    assert shown["credentials"] == ["PARAM_API_KEY", "PW"]
    assert shown["refers_to"] == ["HEADER", "PARAM_API_KEY", "PW"]

    assert run("set", "shop", "HEADER", "--json", stdin="new\n").exit_code == 0
    assert json.loads(run("show", "shop", "--json").stdout)["credentials"] == shown["refers_to"]
    for wrong, said in (
        (("set", "shop", "HEADRE"), "'shop' has no $HEADRE; it has: $HEADER, $PARAM_API_KEY, $PW"),
        (("set", "shop", "PW"), "no value for PW"),
        ((*SHOP, "--secret", "PW"), "this source has no $PW; it has: none"),
    ):
        refused = run(*wrong, stdin="")
        assert (refused.exit_code, said in refused.output) == (2, True), refused.output


def test_secrets_inside_of_json_are_taken_out(run: Run) -> None:
    auth = '{"type": "client-credentials", "token_url": "https://t/x", "client_id": "me", "client_secret": "hunter2"}'
    key = '{"type": "api-key", "value": "hunter2", "name": "X-V"}'
    for typed, name in ((auth, "AUTH_CLIENT_SECRET"), (key, "AUTH_VALUE")):
        added = run(*SHOP, "--option", f"auth={typed}", "--replace", "--json")
        assert json.loads(added.stdout.splitlines()[-1])["credentials"] == [name], added.output
        assert "hunter2" not in run("show", "shop").output


def test_rotating_and_what_is_said_of_wrong_missing_and_readable_keys(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*SHOP, "--param", "api_key=hunter2")
    old, new = (tmp_path / "milepost.key").read_text().strip(), make_key()

    both = run("rotate", MILEPOST_SECRET_KEY=f"{new},{old}")
    assert both.output == "1 connections, 0 tokens and 0 routes are encrypted with the first key\n"
    assert run("show", "shop", MILEPOST_SECRET_KEY=new).exit_code == 0

    wrong = run("show", "shop")
    assert wrong.exit_code == 2
    assert "cannot be decrypted with the key of milepost.key: it was encrypted with" in wrong.output
    looked = run("doctor")
    assert looked.exit_code == 1
    assert "WRONG  connections: what is secret of the connection 'shop' cannot be" in looked.output
    with monkeypatch.context() as patch:
        patch.setenv("MILEPOST_SECRET_KEY", f"{make_key()},{new}")
        assert "1 with an older key: run `milepost connections rotate`" in run("doctor").output

    (tmp_path / "milepost.key").chmod(0o644)
    open_ = run("show", "shop")
    assert (open_.exit_code, "has mode 0644" in open_.output) == (2, True)
    (tmp_path / "milepost.key").unlink()
    # A new key would be the wrong one.
    lost = run("add", "other", "https://other.example", "--param", "api_key=x")
    assert (lost.exit_code, "If there was a key, put it back" in lost.output) == (2, True)
    assert not (tmp_path / "milepost.key").exists()
    assert "all can be read" in run("doctor", MILEPOST_SECRET_KEY=new).output


def test_a_damaged_row_hides_no_other(run: Run) -> None:
    run(*SHOP)
    run("add", "other", "https://other.example")
    database = open_database("milepost.db")
    with database.begin() as conn:
        conn.execute(
            update(connections)
            .where(connections.c.name == "shop")
            .values(source="{", credentials="x")
        )
    database.close()
    listed = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
    assert [(each["connection"], each["kind"]) for each in listed] == [
        ("other", "http"),
        ("shop", None),
    ]
    shown = run("show", "shop")
    assert (shown.exit_code, "so the row is damaged" in shown.output) == (1, True)
    assert run("rm", "shop", "--yes").exit_code == 0


@pytest.mark.parametrize("json_", [False, True])
async def test_a_test_says_what_works_and_what_to_do(
    serve: Serve, run: Run, *, json_: bool
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        limit = {"RateLimit": '"default";r=41;t=30'}
        if request.headers["Authorization"] != "Bearer good-token":
            # It repeats what it was sent, also where nobody expects it.
            echo = {**limit, "X-Echo": request.headers["Authorization"]}
            return web.Response(status=401, text=str(request.headers), headers=echo)
        return web.json_response({"data": [{"id": 1}], "total": 1}, headers=limit)

    server = await serve(answer)
    auth = ["--header", "Authorization: Bearer $TOKEN", "--secret", "TOKEN"]
    more = ["--json"] if json_ else []
    command = ["add", "shop", server.url, "--table", "orders", *auth]
    added = await asyncio.to_thread(run, *command, stdin="bad-token\n")
    assert added.exit_code == 0, added.output
    refused = await asyncio.to_thread(run, "test", "shop", *more)
    assert refused.exit_code == 1
    assert "Check $TOKEN" in refused.output
    assert "bad-token" not in refused.output

    await asyncio.to_thread(run, "set", "shop", "TOKEN", stdin="good-token\n")
    good = await asyncio.to_thread(run, "test", "shop", *more)
    assert good.exit_code == 0, good.output
    if json_:
        assert json.loads(good.stdout) == {
            "connection": "shop", "reached": True, "authenticated": True, "tables": ["orders"],
            "notes": [
                "orders: 1 of 1 records on one page",
                "orders: records are at data; on one page",
            ],
            "rate_limit": "41 requests left for 30 s", "problem": None,
        }  # fmt: skip
    else:
        assert good.output.splitlines()[:4] == [
            "reached        yes", "authenticated  yes", "tables         orders",
            "rate limit     41 requests left for 30 s",
        ]  # fmt: skip
        assert "milepost connections set shop CREDENTIAL" in refused.output


def test_postgresql_gets_no_key_file(run: Run, postgres_url: str, tmp_path: Path) -> None:
    database = open_database(postgres_url)
    schema.migrate(database)
    database.close()
    refused = run(*SHOP, "--param", "api_key=hunter2", DATABASE_URL=postgres_url)
    assert refused.exit_code == 2
    assert "neither MILEPOST_SECRET_KEY nor MILEPOST_SECRET_KEY_FILE is set. If" in refused.output
    assert list(tmp_path.iterdir()) == []
