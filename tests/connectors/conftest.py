import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from milepost.connectors import Access, Cursor, Page, Secrets, check_source, source_from
from milepost.connectors.http.connector import HttpConnector

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """A real server whose answers a test decides; it remembers what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[web.Request] = []
        self.url = ""
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=0.1)

    @property
    def asked(self) -> list[str]:
        return [request.path_qs for request in self.requests]

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def aclose(self) -> None:
        await self._runner.cleanup()

    def _app(self) -> web.Application:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.requests.append(request)
            return await self.answer(request)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        return app


Serve = Callable[[Answer], Awaitable[Server]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[Server] = []

    async def start(answer: Answer) -> Server:
        server = Server(answer)
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.aclose()


class Opened:
    """A connector, with the waits that it would have made."""

    def __init__(self, connector: HttpConnector, secrets: Secrets) -> None:
        self.connector = connector
        self.secrets = secrets
        self.waited: list[float] = []
        self.said: list[str] = []
        self.found: list[str] = []

    async def pages(self, table: str = "orders", after: Cursor = None) -> list[Page]:
        return [page async for page in self.connector.pages(table, after=after)]

    async def records(self, table: str = "orders", after: Cursor = None) -> list[Any]:
        return [record for page in await self.pages(table, after) for record in page.records]


class NoTurns:
    """Budgets for a clock that stands still: what is to be waited for is waited for once."""

    async def reserve(self, key: str, *, every: float, burst: int) -> float:
        return 0.0

    async def hold(self, key: str, seconds: float) -> None: ...


Open = Callable[..., Opened]


@pytest.fixture
async def open_http() -> AsyncIterator[Open]:
    """Open a connector that does not sleep, only notes that it would."""
    opened: list[Opened] = []

    def open_(
        address: str,
        *,
        env: Mapping[str, str] | None = None,
        tables_of: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Opened:
        secrets = Secrets(env or {})
        source: Any = (
            source_from(address, **options)
            if tables_of is None
            else check_source({"kind": "http", "url": address, "tables": tables_of, **options})
        )

        async def sleep(seconds: float) -> None:
            await asyncio.sleep(0)

        def on_log(what: str) -> None:
            one.found.append(what)

        def on_wait(said: str, wait: timedelta) -> None:
            one.said.append(said)
            one.waited.append(wait.total_seconds())

        access = Access(
            secrets=secrets, on_wait=on_wait, on_log=on_log, sleep=sleep, budgets=NoTurns()
        )
        connector = HttpConnector(source, access)
        one = Opened(connector, secrets)
        opened.append(one)
        return one

    yield open_
    for one in opened:
        await one.connector.aclose()


async def assert_resumes(one: Opened, table: str = "orders") -> list[Page]:
    """Check that after every page of a table the rest is the rest."""
    pages = await one.pages(table)
    assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
    for done in range(1, len(pages) + 1):
        rest = [list(page.records) for page in await one.pages(table, pages[done - 1].cursor)]
        wanted = [list(page.records) for page in pages[done:]]
        assert rest == (wanted or [[]])
    return pages
