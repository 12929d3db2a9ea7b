"""200,000 records over HTTP, killed at 20 random moments."""

import asyncio
import json
import os
import random
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic_core import to_json

from milepost import open_database, snapshots
from tests.chaos.processes import MILEPOST, until

RECORDS = 200_000
PAGE = 1000
KILLS = 20


def record(index: int) -> dict[str, Any]:
    return {
        "id": index,
        "name": f"Kunde {index} ★ Ünïcode",
        "amount": index / 8,
        "active": index % 3 == 0,
        "note": None if index % 5 else f"note {index}",
        "address": {"street": f"Street {index % 97}", "zip": f"{index % 100_000:05}"},
    }


class Server:
    """Serves pages in its own thread, and counts how often each is asked for."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()
        self._pages = [
            b",".join(to_json(record(index)) for index in range(start, start + PAGE))
            for start in range(0, RECORDS, PAGE)
        ]
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> str:
        self._thread.start()
        self._ready.wait(30)
        return f"http://127.0.0.1:{self.port}/records"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    def _serve(self) -> None:
        self._loop.run_until_complete(self._listen())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        self._loop.close()

    async def _listen(self) -> None:
        app = web.Application()
        app.router.add_get("/records", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def _answer(self, request: web.Request) -> web.Response:
        assert request.query["limit"] == str(PAGE)
        number = int(request.query.get("cursor", "0"))
        self.asked[number] += 1
        following = number + 1 if number + 1 < len(self._pages) else None
        cursor = to_json({"next_cursor": following and str(following), "total": RECORDS})
        body = b'{"records":[' + self._pages[number] + b"]," + cursor[1:]
        return web.Response(body=body, content_type="application/json")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def into(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return str(tmp_path / "snapshot.db")


def test_promise_3_a_download_killed_at_20_random_moments_has_every_record_once(
    server: Server, into: str, tmp_path: Path
) -> None:
    command = [
        *MILEPOST, "download", server.start(), "--into", into, "--page-size", str(PAGE), "--json"
    ]  # fmt: skip
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/store.db"}
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for kill in range(KILLS):
        # After some more pages, and then a moment that may be anywhere in fetching or writing.
        enough = server.asked.total() + chance.randint(1, 8)
        with (tmp_path / f"{kill}.log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            until(
                lambda enough=enough, process=process: (
                    server.asked.total() >= enough or process.poll() is not None
                ),
                f"page request {enough}",
            )
            assert process.poll() is None, (tmp_path / f"{kill}.log").read_text()
            try:
                process.wait(chance.uniform(0, 0.03))
            except subprocess.TimeoutExpired:
                process.kill()
            process.wait(30)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["event"] == "completed"
    assert told["tables"]["records"]["records"] == RECORDS

    assert set(server.asked) == set(range(RECORDS // PAGE))
    again = server.asked.total() - len(server.asked)
    print(f"{again} pages asked again after {KILLS} kills")
    assert again <= KILLS
    assert max(server.asked.values()) <= KILLS + 1

    database = open_database(into)
    with database.read() as conn:
        rows = snapshots.read_rows(conn, "records")
    database.close()
    assert len(rows) == RECORDS
    for index, row in enumerate(rows):
        assert row == record(index), row


def test_a_killed_download_can_be_begun_anew(server: Server, tmp_path: Path) -> None:
    command = [
        *MILEPOST, "download", server.start(), "--into", str(tmp_path / "a.db"),
        "--page-size", str(PAGE), "--json",
    ]  # fmt: skip
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/store.db"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        until(lambda: server.asked.total() > 3, "some pages")
        process.kill()
    with subprocess.Popen(
        [*command, "--full"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        until(lambda: server.asked[0] == 2, "the first page again")
        process.kill()
        told = process.stdout or [""]
        assert json.loads(next(iter(told))) == {"event": "submitted", "job": 2}
