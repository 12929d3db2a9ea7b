"""Records behind HTTP, in pages."""

import asyncio
import threading
from collections import Counter
from typing import Any

from aiohttp import web
from pydantic_core import to_json

from tests.chaos.downloading import KILLS

# So many that each of the kills finds some pages to come.
RECORDS, PAGE = (40_000, 1000) if KILLS <= 3 else (200_000, 200)


def record(index: int) -> dict[str, Any]:
    return {
        "id": index,
        "name": f"Kunde {index} ★ Ünïcode",
        "amount": index / 8,
        "active": index % 3 == 0,
        "note": None if index % 5 else f"note {index}",
        "address": {"street": f"Street {index % 97}", "zip": f"{index % 100_000:05}"},
    }


class Served:
    """A source in a thread of its own, which answers as its subclass does."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> str:
        self._thread.start()
        self._ready.wait(30)
        return f"http://127.0.0.1:{self.port}"

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
        app.router.add_get("/{path:.*}", self.answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        raise NotImplementedError


class Server(Served):
    """Serves pages, and counts how often each is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[int] = Counter()
        self._pages = [
            b",".join(to_json(record(index)) for index in range(start, start + PAGE))
            for start in range(0, RECORDS, PAGE)
        ]

    def start(self) -> str:
        return f"{super().start()}/records"

    async def answer(self, request: web.Request) -> web.Response:
        assert request.query["limit"] == str(PAGE)
        number = int(request.query.get("cursor", "0"))
        self.asked[number] += 1
        following = number + 1 if number + 1 < len(self._pages) else None
        cursor = to_json({"next_cursor": following and str(following), "total": RECORDS})
        body = b'{"records":[' + self._pages[number] + b"]," + cursor[1:]
        return web.Response(body=body, content_type="application/json")
