"""A small shop behind a real HTTP API, for `milepost demo` and for tests.

Its content follows from the index of a record alone, so every run serves the same. It behaves
like the APIs of this world: two kinds of pages, a rate limit, now and then a 503.
"""

import asyncio
import base64
import binascii
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from aiohttp import web
from pydantic_core import to_json

SIZES: Mapping[str, int] = MappingProxyType({"customers": 2_000, "orders": 5_000})

_MAX_LIMIT = 500
_FIRST_NAMES = ("Ada", "Béla", "Chidi", "Dilek", "Emil", "Fatima", "Grace", "Hiro", "Inés", "Jonas")
_LAST_NAMES = ("Adeyemi", "Brandt", "Costa", "Dubois", "Eriksen", "Fischer", "García", "Hansen")
_CITIES = (("Lisbon", "PT"), ("Graz", "AT"), ("Lagos", "NG"), ("Kyoto", "JP"), ("Lyon", "FR"))
_STREETS = ("Mill Lane", "Station Road", "Harbour Street", "High Street", "Orchard Row", "Quay")
_STATUSES = ("paid", "shipped", "delivered", "delivered", "delivered", "returned", "open")
_NOTES = ("Leave at the door", "Gift wrap, please", 'Call the "side" entrance', "Rush\norder")
_OPENED = datetime(2024, 1, 1, 8, 0, tzinfo=UTC)


class TokenBucket:
    """Lets `rate` requests a second pass, and `burst` at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = self._tokens = float(burst)
        self._filled_at = time.monotonic()

    def take(self) -> float:
        """Take a token; otherwise say in how many seconds there is one."""
        now = time.monotonic()
        gained = (now - self._filled_at) * self._rate
        self._tokens, self._filled_at = min(self._burst, self._tokens + gained), now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0
        return (1 - self._tokens) / self._rate


class DemoApi:
    """Serves `/customers` (a list, Link headers) and `/orders` (an envelope with a cursor).

    `token` asks for `Authorization: Bearer …`; `rate_limit` is in requests a second, answered
    with 429 beyond it; each `fail_every`th request gets a 503. None: without. `requests` counts
    what was asked by path and query, `statuses` what was answered.
    """

    def __init__(
        self,
        *,
        sizes: Mapping[str, int] = SIZES,
        token: str | None = None,
        rate_limit: float | None = 50,
        burst: int = 25,
        fail_every: int | None = 13,
        latency: timedelta = timedelta(0),
    ) -> None:
        self.requests: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self._sizes = sizes
        self._token = token
        self._bucket = TokenBucket(rate_limit, burst) if rate_limit else None
        self._fail_every = fail_every
        self._latency = latency.total_seconds()
        self._answered = 0
        self._encoded: dict[str, list[bytes]] = {}
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen on a free port of this machine; return the URL."""
        for table, make in _TABLES.items():
            size = self._sizes.get(table, 0)
            self._encoded[table] = [to_json(make(index)) for index in range(size)]
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/customers", self._customers)
        app.router.add_get("/orders", self._orders)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def aclose(self) -> None:
        """Stop listening; safe to call twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests[request.path_qs] += 1
        if self._latency:
            await asyncio.sleep(self._latency)
        response: web.StreamResponse = self._refusal(request) or await handler(request)
        self.statuses[response.status] += 1
        return response

    def _refusal(self, request: web.Request) -> web.Response | None:
        given = request.headers.get("Authorization")
        if self._token is not None and given != f"Bearer {self._token}":
            return _error(401, "a valid bearer token is required")
        wait = self._bucket.take() if self._bucket else 0
        if wait:
            # Retry-After knows whole seconds only.
            return _error(429, "too many requests", {"Retry-After": str(math.ceil(wait))})
        self._answered += 1
        if self._fail_every and self._answered % self._fail_every == 0:
            return _error(503, "try again in a moment")
        return None

    async def _customers(self, request: web.Request) -> web.Response:
        limit, page = _number(request, "limit", 100), _number(request, "page", 1)
        if limit is None or page is None:
            return _error(400, "limit and page are numbers from 1 on")
        limit = min(limit, _MAX_LIMIT)
        records = self._encoded["customers"]
        headers = {"X-Total-Count": str(len(records))}
        if page * limit < len(records):
            following = request.url.update_query(limit=str(limit), page=str(page + 1))
            headers["Link"] = f'<{following}>; rel="next"'
        body = b",".join(records[(page - 1) * limit : page * limit])
        return _json(b"[" + body + b"]", headers)

    async def _orders(self, request: web.Request) -> web.Response:
        limit, start = _number(request, "limit", 100), _index(request.query.get("cursor"))
        if limit is None or start is None:
            return _error(400, "limit is a number from 1 on, cursor the next_cursor of a page")
        records = self._encoded["orders"]
        end = start + min(limit, _MAX_LIMIT)
        more = end < len(records)
        around = {
            "next_cursor": _cursor(end) if more else None,
            "has_more": more,
            "total": len(records),
        }
        data = b",".join(records[start:end])
        return _json(b'{"data":[' + data + b"]," + to_json(around)[1:])


def _customer(index: int) -> dict[str, Any]:
    first = _FIRST_NAMES[index % len(_FIRST_NAMES)]
    last = _LAST_NAMES[index * 7 // 5 % len(_LAST_NAMES)]
    city, country = _CITIES[index * 3 % len(_CITIES)]
    plain = f"{first}.{last}".lower().translate(str.maketrans("éáí", "eai"))
    return {
        "id": index + 1,
        "name": f"{first} {last}",
        "email": f"{plain}{index + 1}@example.com",
        "address": {
            "street": f"{index % 180 + 1} {_STREETS[index * 5 % len(_STREETS)]}",
            "city": city,
            "country": country,
        },
        "phone": None if index % 4 == 0 else f"+00 555 {index * 7919 % 1_000_000:06}",
        "newsletter": index % 3 == 0,
        "created_at": _moment(index * 97),
        "updated_at": _moment(index * 97 + index * 131 % 5_000),
    }


def _order(index: int) -> dict[str, Any]:
    quantity = index % 4 + 1
    return {
        "id": index + 1,
        "number": f"SO-{100_001 + index}",
        "customer_id": index * 31 % SIZES["customers"] + 1,
        "status": _STATUSES[index * 11 % len(_STATUSES)],
        "quantity": quantity,
        "amount": (index * 2_657 % 19_000 + 499) * quantity / 100,
        "currency": "EUR",
        "gift": index % 9 == 0,
        "note": _NOTES[index // 6 % len(_NOTES)] if index % 6 == 0 else None,
        "created_at": _moment(index * 53),
        "updated_at": _moment(index * 53 + index * 17 % 3_000),
    }


_TABLES: Mapping[str, Callable[[int], dict[str, Any]]] = MappingProxyType(
    {"customers": _customer, "orders": _order}
)


def _moment(minutes: int) -> str:
    return f"{_OPENED + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"


def _number(request: web.Request, name: str, default: int) -> int | None:
    text = request.query.get(name, str(default))
    return int(text) if text.isascii() and text.isdecimal() and int(text) > 0 else None


def _cursor(index: int) -> str:
    return base64.urlsafe_b64encode(f"after:{index}".encode()).decode()


def _index(cursor: str | None) -> int | None:
    if not cursor:
        return 0
    try:
        text = base64.urlsafe_b64decode(cursor).decode().removeprefix("after:")
    except (binascii.Error, ValueError):
        return None
    return int(text) if text.isascii() and text.isdecimal() else None


def _json(body: bytes, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=body, content_type="application/json", headers=headers)


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": message}, status=status, headers=headers)
