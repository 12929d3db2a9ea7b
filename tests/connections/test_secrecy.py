"""Nobody sees a secret again: whatever the source does with it, and wherever one looks."""

import asyncio
import base64
import json
import logging
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from aiohttp import web
from typer.testing import CliRunner

from milepost import Milepost, Settings
from milepost.cli.main import app
from milepost.connections import make_key
from milepost.connectors import source_from
from milepost.database_urls import parse_url
from milepost.downloads import DownloadRecords, download_records
from milepost.settings import SecretKeySettings
from tests.cli.commands import process
from tests.connectors.conftest import Serve
from tests.servers import PostgresServer

# Their ends are letters that no number, no digest and hardly any ciphertext has by chance.
PASSWORD = 'pass/w+rd&"% zqxjvw'
API_KEY = "key-ü/+=&'?#vwjqzx"
LOGIN = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
HABITS = ["refuses", "redirects", "breaks", "babbles", "pages"]


def spellings() -> set[str]:
    spelled = {LOGIN, base64.b64encode(PASSWORD.encode()).decode().rstrip("=")}
    for secret in (PASSWORD, API_KEY):
        encoded = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
        lower = {re.sub("%..", lambda each: each[0].lower(), each) for each in encoded}
        escaped = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
        spelled |= {secret, *encoded, *lower, *escaped}
    # What they have in common, however the rest is spelled.
    return spelled | {"zqxjvw", "vwjqzx"}


class Gossip:
    """A source that repeats the credentials in each of its answers, in every way it can."""

    def __init__(self) -> None:
        self.elsewhere = ""
        self.told: set[str] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        login = request.headers.get("Authorization", "")
        self.told |= {login, request.query.get("api_key", "")}
        said = {
            "login": login, "decoded": PASSWORD, "query": request.query_string,
            "url": str(request.url), "key": API_KEY, "plus": quote_plus(API_KEY),
        }  # fmt: skip
        match request.path.strip("/"):
            case "redirects":
                stray = f"{self.elsewhere}/refuses?{request.query_string}&pw={quote(PASSWORD)}"
                return web.Response(status=302, headers={"Location": stray})
            case "breaks":
                return web.json_response(said, status=500, headers={"X-Login": login})
            case "babbles":
                return web.Response(text=f"{said}", content_type="application/json")
            case "pages" if "cursor" not in request.query:
                next_ = f"/pages?cursor=2&pw={quote(PASSWORD, safe='')}"
                return web.json_response({"data": [{"id": 1}], "next": next_})
            case _:
                status = 400 if "cursor" in request.query else 401
                return web.json_response(said, status=status)


class Seen:
    """All that anybody could read."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    async def run(self, *arguments: str, stdin: str | None = None, **env: str) -> None:
        done = await asyncio.to_thread(CliRunner(env=env).invoke, app, arguments, input=stdin)
        self.texts[" ".join(arguments)] = done.output + repr(done.exception)

    def leaks(self) -> list[tuple[str, str]]:
        return [
            (where, spelled)
            for where, text in self.texts.items()
            for spelled in spellings()
            if spelled in text
        ]


@pytest.fixture
async def gossip(serve: Serve) -> tuple[Gossip, str]:
    here = Gossip()
    server, elsewhere = await serve(here.answer), await serve(here.answer)
    here.elsewhere = elsewhere.url
    return here, server.url


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_secret_is_seen_by_the_source_only(
    kind: str, gossip: tuple[Gossip, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    source, address = gossip
    store = str(request.getfixturevalue(f"{kind}_store_url"))
    key, seen = make_key(), Seen()
    env = {"DATABASE_URL": store, "MILEPOST_SECRET_KEY": key}
    caplog.set_level(logging.DEBUG)

    await seen.run(
        "connections", "add", "gossip", address, "--basic-auth", "me:$PW", "--param",
        "api_key=$KEY", "--secret", "PW", "--secret", "KEY", "--option", "max_tries=1",
        *(part for habit in HABITS for part in ("--table", habit)),
        stdin=f"{PASSWORD}\n{API_KEY}\n", **env,
    )  # fmt: skip
    into = store if kind == "postgres" else str(tmp_path / "snapshot.db")
    ids = await run_jobs(store, key, into)
    seen.texts["files, while they are in use"] = files(tmp_path)

    for arguments in (
        ("connections", "test", "gossip"), ("connections", "show", "gossip"),
        ("connections", "list"), ("doctor",), ("jobs", "list"),
        *(("jobs", look, str(id_)) for id_ in ids for look in ("show", "logs")),
    ):  # fmt: skip
        await seen.run(*arguments, **env)
        await seen.run(*arguments, "--json", **env)
    for more in (["--json"], ["--table", "pages", "--param", "x=1"]):
        done = await asyncio.to_thread(
            process, tmp_path, "--debug", "download", "connection:gossip", "--into", "y.db",
            *more, **env,
        )  # fmt: skip
        seen.texts[f"download {more}"] = done.stdout + done.stderr
    seen.texts["log"] = caplog.text
    seen.texts["files"] = files(tmp_path)
    if kind == "postgres":
        seen.texts["dump"] = dump(request.getfixturevalue("postgres"), store)

    assert source.told >= {f"Basic {LOGIN}", API_KEY}
    assert seen.leaks() == []
    # What was seen had the secrets in it, and names in their places.
    refused, paged = (seen.texts[f"jobs show {each}"] for each in (ids[0], ids[-1]))
    assert "Basic $PW" in refused
    assert '"key": "$KEY"' in refused
    assert "/pages?cursor=2&pw=${PW}" in paged


async def run_jobs(store: str, key: str, into: str) -> list[int]:
    """Run a job for each of the source's habits to its failure; returns their ids."""
    settings = Settings(database_url=store, secret_key=SecretKeySettings(keys=key))
    worker = replace(settings.worker, queues=("downloads",), concurrency=len(HABITS))
    ids: list[int] = []
    async with Milepost(settings=replace(settings, worker=worker)) as application:
        handles = [
            await application.submit(
                download_records,
                DownloadRecords(source=source_from("connection:gossip", tables=[habit]), into=into),
                max_attempts=1,
            )
            for habit in HABITS
        ]
        async with application.worker():
            for handle in handles:
                with pytest.raises(Exception, match=r"job \d+ failed"):
                    await handle.result()
                ids.append(handle.job_id)
    return ids


def files(folder: Path) -> str:
    found = [path for path in folder.iterdir() if path.is_file()]
    return "\n".join(path.read_bytes().decode("utf-8", "replace") for path in found)


def dump(server: PostgresServer, url: str) -> str:
    parts: Any = parse_url(url)
    command = [str(server.binaries / "pg_dump"), "-h", str(parts.query.get("host") or parts.host),
               "-p", str(server.port), "-U", parts.username, parts.database]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
