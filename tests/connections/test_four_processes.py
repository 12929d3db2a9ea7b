"""Four processes and one refresh token, of a server that takes one used twice for stolen."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from tests.chaos.processes import ROOT
from tests.connectors.conftest import Serve

ROUNDS = 5


class Tokens:
    """Gives tokens until they are revoked; counts refreshes, and refresh tokens used again."""

    def __init__(self) -> None:
        self.refreshes = 0
        self.thefts = 0
        self.reads = 0
        self.revoked = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/token"):
            return await self._refresh(request)
        if self.revoked or request.headers["Authorization"] != f"Bearer access-{self.refreshes}":
            return web.Response(status=401)
        self.reads += 1
        return web.json_response([{"id": 1}])

    async def _refresh(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        self.asked.set()
        await self.answers.wait()
        if request.transport is None:
            return web.Response()  # Who asked has died, and the server never saw to it.
        if form["refresh_token"] != f"refresh-{self.refreshes}":
            self.thefts += 1
            return web.json_response({"error": "invalid_grant"}, status=400)
        # Long enough for all to have met the refusal.
        await asyncio.sleep(0.1)
        self.refreshes += 1
        self.revoked = False
        number = self.refreshes
        return web.json_response(
            {"access_token": f"access-{number}", "refresh_token": f"refresh-{number}"}
        )


class Getter:
    """One of the processes."""

    def __init__(self, pid: int, hears: asyncio.StreamReader, says: asyncio.StreamWriter) -> None:
        self.pid = pid
        self._hears = hears
        self.says = says

    async def read(self) -> str:
        self.says.write(b"read\n")
        return (await self._hears.readline()).decode().strip()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def getters(folder: Path, store: str, key: str, url: str) -> AsyncIterator[list[Getter]]:
    made: asyncio.Queue[Getter] = asyncio.Queue()

    async def came(hears: asyncio.StreamReader, says: asyncio.StreamWriter) -> None:
        await made.put(Getter(int(await hears.readline()), hears, says))

    server = await asyncio.start_unix_server(came, folder / "socket")
    launcher = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.connections.getter", str(folder / "socket"), store, key, url,
        "4", cwd=ROOT,
    )  # fmt: skip
    four: list[Getter] = []
    try:
        four = [await asyncio.wait_for(made.get(), 60) for _ in range(4)]
        yield four
    finally:
        for each in four:
            each.kill()
            each.says.close()
        await launcher.wait()
        server.close()


async def test_each_token_is_got_once_and_by_another_where_its_getter_is_killed(
    serve: Serve, store_url: str, keys: list[str], tmp_path: Path
) -> None:
    tokens = Tokens()
    url = (await serve(tokens.answer)).url
    async with getters(tmp_path, store_url, keys[0], url) as four:
        for _ in range(ROUNDS):
            tokens.revoked = True
            assert await asyncio.gather(*(each.read() for each in four)) == ["read"] * 4
        assert (tokens.reads, tokens.refreshes, tokens.thefts) == (4 * ROUNDS, ROUNDS, 0)

        tokens.revoked = True
        tokens.answers.clear()
        tokens.asked.clear()
        first, *others = four
        dying = asyncio.create_task(first.read())
        await asyncio.wait_for(tokens.asked.wait(), 20)
        tokens.asked.clear()
        waiting = [asyncio.create_task(each.read()) for each in others]
        # Longer than its lease, which it renews.
        await asyncio.sleep(1.5)
        assert not tokens.asked.is_set()
        first.kill()
        assert await dying == ""
        await asyncio.wait_for(tokens.asked.wait(), 20)
        tokens.answers.set()
        assert await asyncio.gather(*waiting) == ["read"] * 3
    assert (tokens.reads, tokens.refreshes, tokens.thefts) == (4 * ROUNDS + 3, ROUNDS + 1, 0)
