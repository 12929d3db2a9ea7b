"""`milepost download` against a real server: which download goes on, and what nobody may see."""

import asyncio
import base64
import subprocess
from pathlib import Path

import pytest
from aiohttp import web

from milepost import open_database, snapshots
from tests.cli.commands import lines, process
from tests.connectors.conftest import Serve, serve

__all__ = ["serve"]


def stored(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("*.db*"))


async def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        process, folder, "download", *arguments, "--into", "x.db", **variables
    )


def ids(folder: Path) -> list[int]:
    database = open_database(str(folder / "x.db"))
    try:
        with database.read() as conn:
            return [row["id"] for row in snapshots.read_rows(conn, "orders")]
    finally:
        database.close()


@pytest.mark.parametrize("option", ["param", "header"])
async def test_another_query_is_another_download(serve: Serve, tmp_path: Path, option: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        region = request.query.get("region") or request.headers["region"]
        if "cursor" in request.query and region == "eu":
            return web.Response(status=400)
        first = {"eu": 1, "us": 11}[region]
        if "cursor" in request.query:
            return web.json_response({"data": [{"id": first + 1}], "next_cursor": None})
        return web.json_response({"data": [{"id": first}], "next_cursor": "2"})

    server = await serve(answer)
    typed = {"param": "region={}", "header": "region: {}"}[option]

    def command(region: str) -> list[str]:
        return [f"{server.url}/orders", f"--{option}", typed.format(region)]

    assert (await run(tmp_path, *command("eu"))).returncode == 1
    other = await run(tmp_path, *command("us"), "--json")
    assert lines(other)[0]["event"] == "submitted", other.stdout
    assert other.returncode == 0
    assert {11, 12} <= set(ids(tmp_path))


async def test_another_token_is_the_same_download(serve: Serve, tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        good = request.headers["Authorization"] == "Bearer good-token"
        if "cursor" not in request.query:
            return web.json_response({"data": [{"id": 1}], "next_cursor": "2"})
        return web.json_response({"data": [{"id": 2}]}, status=200 if good else 401)

    server = await serve(answer)
    command = (f"{server.url}/orders", "--header")
    refused = await run(tmp_path, *command, "Authorization: Bearer old-token")
    assert refused.returncode == 1
    assert "--header 'Authorization: Bearer …'" in refused.stdout
    again = await run(tmp_path, *command, "Authorization: Bearer good-token")
    assert "Going on with job 1 after 1 orders" in again.stdout
    assert again.returncode == 0
    assert ids(tmp_path) == [1, 2]
    assert not [token for token in (b"old-token", b"good-token") if token in stored(tmp_path)]


async def test_secrets_reach_the_source_and_nobody_else(serve: Serve, tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=404)

    server = await serve(answer)
    host = server.url.removeprefix("http://")
    done = await run(
        tmp_path,
        f"http://u:a%24b%25cword@{host}/orders?token=in%20the+query&status=open",
        "--param", "v=1", "--param", "api_key=it's $$ %26", "--param", "sig=1", "--header", "X-V: 1",
    )  # fmt: skip
    assert done.returncode == 1

    [asked] = server.requests
    login = base64.b64encode(b"u:a$b%cword").decode()
    assert asked.headers["Authorization"] == f"Basic {login}"
    assert asked.query == {
        "token": "in the query", "status": "open", "v": "1", "api_key": "it's $ %26", "sig": "1",
    }  # fmt: skip
    spelled = [
        "a$b%cword", "a%24b%25cword", login, "in the query", "in%20the", "in+the",
        "it's $ %26", "it's $$ %26", "%26", "it'\"'\"'s",
    ]  # fmt: skip
    seen = stored(tmp_path).decode("latin-1") + done.stdout + done.stderr
    assert not [secret for secret in spelled if secret in seen]
    assert (
        f"milepost download 'http://u:…@{host}/orders?token=…&status=open' --param v=1 "
        "--param 'api_key=…' --param 'sig=…' --header 'X-V: 1' --into x.db"
    ) in done.stdout


async def test_a_key_takes_the_place_of_user_and_password(serve: Serve, tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == "Basic c2tfbGl2ZV80NzExOg=="
        return web.json_response([{"id": 1}])

    server = await serve(answer)
    done = await run(tmp_path, f"{server.url}/orders", "--basic-auth", "sk_live_4711:")
    assert done.returncode == 0, done.stderr
    assert b"sk_live_4711" not in stored(tmp_path)
