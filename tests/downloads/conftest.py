from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import svcs
from aiohttp import web

from milepost import open_database, snapshots
from milepost.connectors import HttpSource, Secrets
from milepost.downloads import DownloadRecords, download_records
from milepost.downloads.state import Downloaded
from milepost.testing import JobRun, Sandbox
from tests.connectors.conftest import Server

SIZE = 5


class Shop:
    """A source that pages by number, or by cursor; a test changes what it holds and tells."""

    def __init__(self) -> None:
        self.ids = list(range(30))
        self.by_cursor = False
        self.told = True
        self.away_for: int | None = None
        self.wrong: dict[int, Any] = {}
        """What takes the place of facts of the replies at these pages."""
        self.served: list[int] = []
        self.queries: list[dict[str, str]] = []
        self.after: dict[int, Callable[[], object]] = {}
        """What happens, once, when a page has been served."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.away_for is not None:
            return web.Response(status=503, headers={"Retry-After": str(self.away_for)})
        page = int(request.query.get("cursor" if self.by_cursor else "page", 1))
        self.served.append(page)
        self.queries.append(dict(request.query))
        reply = self._reply(page)
        wrong = self.wrong.get(page, {})
        self.after.pop(page, lambda: None)()
        return web.json_response({**reply, **wrong} if isinstance(wrong, dict) else wrong)

    def rows(self) -> list[Any]:
        """All records that it serves."""
        pages = range(1, -(-len(self.ids) // SIZE) + 1)
        return [
            row
            for page in pages
            for row in {**self._reply(page), **self.wrong.get(page, {})}["data"]
        ]

    def _reply(self, page: int) -> dict[str, Any]:
        rows = [{"id": each, "n": each} for each in self.ids[(page - 1) * SIZE : page * SIZE]]
        more = page * SIZE < len(self.ids)
        reply: dict[str, Any] = {"data": rows, "total": len(self.ids)}
        if not self.told:
            reply = {"data": rows}
        if self.by_cursor:
            return {**reply, "next_cursor": str(page + 1) if more else None}
        return {**reply, "page": page, "has_more": more}


class Downloads:
    """Downloads the shop again and again, each time as a new job."""

    def __init__(self, shop: Shop, url: str, into: Path) -> None:
        self.shop = shop
        self.source: Any = HttpSource(url=f"{url}/items", max_tries=1)
        self.url = url
        self.into = into

    async def run(self, **options: Any) -> JobRun[Downloaded]:
        services = svcs.Registry()
        services.register_value(Secrets, Secrets({}))
        args = DownloadRecords(source=self.source, into=str(self.into), **options)
        async with Sandbox(services) as sandbox:
            return await sandbox.run(download_records, args)

    def rows(self) -> dict[int, bool]:
        """Each id in the snapshot, and whether it is marked as deleted."""
        database = open_database(str(self.into))
        with database.read() as conn:
            rows = snapshots.read_rows(conn, "items", bookkeeping=True)
        database.close()
        return {row["id"]: row["_milepost_deleted_at"] is not None for row in rows}

    def marked(self) -> list[int]:
        return [id_ for id_, marked in self.rows().items() if marked]


@pytest.fixture
async def downloads(tmp_path: Path) -> AsyncIterator[Downloads]:
    shop = Shop()
    server = Server(shop.answer)
    await server.start()
    yield Downloads(shop, server.url, tmp_path / "snapshot.db")
    await server.aclose()
