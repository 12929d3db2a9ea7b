"""The API that shop.yaml describes, in a thread of its own."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from milepost.testing.connectors import Fault
from tests.chaos.records import Served

MANIFEST: Final = Path(__file__).with_name("shop.yaml")
TOKEN: Final = "open sesame"
BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)

Rows = list[dict[str, Any]]


class Shop(Served):
    """Orders, `by_day` of them on each day from the start of 2026; pages of `size` records."""

    def __init__(self, orders: int = 13, *, by_day: int = 1, size: int = 4) -> None:
        super().__init__()
        self.size = size
        self._by_day = by_day
        self.orders: Rows = [order(number, by_day) for number in range(1, orders + 1)]
        self.customers: Rows = [{"id": 1}, {"id": 2}]
        self.invoices: Rows = [{"id": number, "customer": 1 + number % 2} for number in range(1, 6)]
        self.until = f"{BEGAN + timedelta(days=orders / by_day + 3):%Y-%m-%dT%H:%M:%SZ}"
        self.url = ""
        self.fault: Fault | None = None
        self.asked: list[str] = []
        self.answers_after = 0.0
        self._truncated = False

    def start(self) -> str:
        self.url = super().start()
        return self.url

    def add_order(self) -> None:
        """Let another one come after the last."""
        self.orders.append(order(len(self.orders) + 1, self._by_day))

    @property
    def config(self) -> dict[str, Any]:
        return {"url": self.url, "token": "$TOKEN", "until": self.until}

    def suffer(self, fault: Fault | None) -> None:
        self.fault, self._truncated = fault, False
        self.orders = [order(number, self._by_day) for number in range(1, len(self.orders) + 1)]
        if fault == "changed type":
            self.orders[7]["name"] = {"of": 7}
        if fault == "duplicate keys":
            self.orders[9]["id"] = 1
        self.asked.clear()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        refuses = self.fault == "credentials refused" and len(self.asked) > 2
        if refuses or request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"message": "who are you?"}, status=401)
        if self.fault == "too many requests":
            return web.json_response({}, status=429)
        await asyncio.sleep(60 if self.fault == "slow" else self.answers_after)
        body = self._page(self._rows(request), request.query.get("page", "0"))
        if self.fault == "truncated" and not self._truncated:
            self._truncated = True
            return await _half(request, json.dumps(body).encode())
        return web.json_response(body)

    def _page(self, rows: Rows, page: str) -> dict[str, Any]:
        begin = int(page.removesuffix(" again"))
        more = begin + self.size < len(rows)
        follows: str | None = str(begin + self.size) if more else None
        if self.fault == "repeated page" and not page.endswith("again"):
            follows = f"{page} again"
        return {"data": rows[begin : begin + self.size], "next": follows}

    def _rows(self, request: web.Request) -> Rows:
        match request.path.strip("/").split("/"):
            case ["orders"]:
                after, until = request.query["after"], request.query["until"]
                return [row for row in self.orders if after < row["updated"] <= until]
            case ["customers"]:
                return self.customers
            case ["customers", customer, "invoices"]:
                return [
                    {"id": row["id"]} for row in self.invoices if row["customer"] == int(customer)
                ]
            case _:
                return []


def order(number: int, by_day: int = 1) -> dict[str, Any]:
    # No two of them are days apart, so that none stands where a slice begins, before which the
    # server looks no more.
    at = BEGAN + (timedelta(days=1) / by_day + timedelta(seconds=1)) * number
    return {"id": number, "name": f"order {number}", "updated": f"{at:%Y-%m-%dT%H:%M:%SZ}"}


async def _half(request: web.Request, body: bytes) -> web.StreamResponse:
    reply = web.StreamResponse(headers={"Content-Length": str(len(body))})
    await reply.prepare(request)
    await reply.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.abort()
    return reply
