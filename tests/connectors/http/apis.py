"""Servers that behave as the public documentation of six APIs says: what our examples read.

Each holds some records, wants its credentials, pages in its own way and refuses what the real one
refuses. `asked_too_fast` makes the next request be told so.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from aiohttp import web

Rows = list[dict[str, Any]]
Handler = Callable[[web.Request], Any]


class Api:
    """One API; `tables` are what its example reads, as they have to arrive."""

    example: ClassVar[str]
    values: ClassVar[Mapping[str, str]]
    base: ClassVar[str] = ""
    size: ClassVar[int] = 4

    def __init__(self) -> None:
        self.asked_too_fast = 0
        self.asked: list[str] = []
        self.tables: dict[str, Rows] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        if not self.knows(request):
            return self.stranger()
        if self.asked_too_fast:
            self.asked_too_fast -= 1
            return self.too_fast()
        body = await request.json() if request.method == "POST" else {}
        return self.reply(request, request.path.removeprefix(self.base), body)

    def knows(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == "Bearer token-of-ours"

    def stranger(self) -> web.Response:
        return web.json_response({"message": "Bad credentials"}, status=401)

    def too_fast(self) -> web.Response:
        return web.json_response({}, status=429, headers={"Retry-After": "1"})

    def reply(self, request: web.Request, path: str, body: dict[str, Any]) -> web.Response:
        raise NotImplementedError


def bad(why: str, status: int = 400) -> web.Response:
    return web.json_response({"error": why}, status=status)


class GitHub(Api):
    example = "github"
    values: ClassVar = {"GITHUB_TOKEN": "token-of-ours", "GITHUB_REPOSITORY": "acme/shop"}
    base = "/repos/acme/shop"

    def __init__(self) -> None:
        super().__init__()
        issues = [
            {"id": 1000 + n, "number": n, "updated_at": f"2024-01-{n:02}T00:00:00Z"}
            for n in range(1, 12)
        ]
        self.comments = {n: [{"id": 100 * n + k} for k in range(n % 6)] for n in range(1, 12)}
        self.tables = {
            "issues": issues,
            "comments": [
                {**each, "issues_number": n} for n, found in self.comments.items() for each in found
            ],
            "labels": [{"id": 1, "name": "bug"}],
        }

    def too_fast(self) -> web.Response:
        # The primary limit is a 403, without Retry-After.
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}
        return web.json_response(
            {"message": "API rate limit exceeded"}, status=403, headers=headers
        )

    def reply(self, request: web.Request, path: str, body: dict[str, Any]) -> web.Response:
        if request.headers.get("X-GitHub-Api-Version") != "2022-11-28":
            return bad("version")
        query = request.query
        if path == "/issues" and query.get("state") != "all":
            return bad("only the open ones")
        rows = self.tables.get(path[1:], [])
        if path.endswith("/comments"):
            rows = self.comments[int(path.split("/")[2])]
        rows = [row for row in rows if row.get("updated_at", "") >= query.get("since", "")]
        page, size = int(query.get("page", 1)), min(self.size, int(query["per_page"]))
        headers = {"X-RateLimit-Remaining": "4999", "X-RateLimit-Reset": "1372700873"}
        if page * size < len(rows):
            following = request.url.update_query(page=page + 1)
            headers["Link"] = f'<{following}>; rel="next", <{following}>; rel="last"'
        return web.json_response(rows[(page - 1) * size : page * size], headers=headers)


class Stripe(Api):
    example = "stripe"
    values: ClassVar = {"STRIPE_KEY": "token-of-ours"}
    base = "/v1"

    def __init__(self) -> None:
        super().__init__()
        invoices = [
            {"id": f"in_{n}", "lines": {"object": "list", "data": [{"id": f"il_{n}"}]}}
            for n in range(6)
        ]
        self.tables = {
            "customers": [{"id": f"cus_{n}", "object": "customer"} for n in range(11)],
            "charges": [{"id": f"ch_{n}", "created": 1700000000 + n} for n in range(9)],
            "invoices": invoices,
            "invoice_lines": [
                {**line, "invoices_id": each["id"]}
                for each in invoices
                for line in each["lines"]["data"]  # type: ignore[index]
            ],
        }

    def reply(self, request: web.Request, path: str, body: dict[str, Any]) -> web.Response:
        unknown = request.query.keys() - {"limit", "starting_after", "created[gte]"}
        if unknown:
            return bad(f"Received unknown parameter: {unknown}")
        rows = self.tables[path[1:]]
        rows = [
            row
            for row in rows
            if row.get("created", 0) >= int(request.query.get("created[gte]", 0))
        ]
        ids = [row["id"] for row in rows]
        after = request.query.get("starting_after")
        if after is not None and after not in ids:
            return bad(f"No such object: {after}")
        begin = 0 if after is None else ids.index(after) + 1
        return web.json_response(
            {
                "object": "list", "url": path, "data": rows[begin : begin + self.size],
                "has_more": begin + self.size < len(rows),
            }
        )  # fmt: skip


class Shopify(Api):
    example = "shopify"
    values: ClassVar = {"SHOPIFY_TOKEN": "token-of-ours", "SHOPIFY_SHOP": "acme"}
    base = "/admin/api/2025-07"

    def __init__(self) -> None:
        super().__init__()
        orders = [
            {
                "id": n,
                "updated_at": f"2024-01-{n:02}T00:00:00-05:00",
                "line_items": [{"id": 50 + n}],
            }
            for n in range(1, 10)
        ]
        self.tables = {
            "orders": orders,
            "order_lines": [{"id": 50 + n, "orders_id": n} for n in range(1, 10)],
            "products": [{"id": n} for n in range(1, 4)],
        }

    def knows(self, request: web.Request) -> bool:
        return request.headers.get("X-Shopify-Access-Token") == "token-of-ours"

    def too_fast(self) -> web.Response:
        return web.json_response(
            {"errors": "Exceeded 2 calls per second"}, status=429, headers={"Retry-After": "2.0"}
        )

    def reply(self, request: web.Request, path: str, body: dict[str, Any]) -> web.Response:
        name = path[1:].removesuffix(".json")
        info = request.query.get("page_info")
        if info is not None and request.query.keys() - {"limit", "page_info"}:
            return bad("page_info takes no other parameter but limit")
        begin = int(info or 0)
        rows = self.tables[name]
        headers = {"X-Shopify-Shop-Api-Call-Limit": "32/40"}
        if begin + self.size < len(rows):
            following = request.url.with_query(limit=self.size, page_info=begin + self.size)
            headers["Link"] = f'<{following}>; rel="next"'
        return web.json_response({name: rows[begin : begin + self.size]}, headers=headers)


class HubSpot(Api):
    example = "hubspot"
    values: ClassVar = {"HUBSPOT_TOKEN": "token-of-ours"}
    base = "/crm/v3/objects"

    def __init__(self) -> None:
        super().__init__()
        self.tables = {
            name: [{"id": f"{n}", "properties": {"n": f"{n}"}, "archived": False} for n in range(9)]
            for name in ("contacts", "companies", "won_deals")
        }

    def too_fast(self) -> web.Response:
        return web.json_response(
            {"status": "error", "errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING"},
            status=429,
        )

    def reply(self, request: web.Request, path: str, body: dict[str, Any]) -> web.Response:
        asked: Mapping[str, Any] = request.query
        name = path[1:]
        if path == "/deals/search":
            if request.method != "POST" or not body["filterGroups"]:
                return bad("a search has filters")
            asked, name = body, "won_deals"
        begin, size = int(asked.get("after", 0)), min(self.size, int(asked["limit"]))
        rows = self.tables[name]
        reply: dict[str, Any] = {"results": rows[begin : begin + size]}
        if begin + size < len(rows):
            reply["paging"] = {
                "next": {"after": str(begin + size), "link": "https://api.hubapi.com"}
            }
        return web.json_response(reply)


class Notion(Api):
    example = "notion"
    values: ClassVar = {"NOTION_TOKEN": "token-of-ours", "NOTION_DATABASE": "d9824bdc"}
    base = "/v1"

    def __init__(self) -> None:
        super().__init__()
        pages = [{"object": "page", "id": f"page-{n}"} for n in range(6)]
        self.blocks = {f"page-{n}": [{"id": f"b-{n}-{k}"} for k in range(n)] for n in range(6)}
        self.tables = {
            "pages": pages,
            "blocks": [
                {**block, "pages_id": page}
                for page, found in self.blocks.items()
                for block in found
            ],
            "users": [{"object": "user", "id": "ada"}],
        }

    def reply(self, request: web.Request, path: str, body: dict[str, Any]) -> web.Response:
        if "Notion-Version" not in request.headers:
            return bad("missing_version")
        asked: Mapping[str, Any] = body if request.method == "POST" else request.query
        if request.method == "POST" and not isinstance(body.get("page_size"), int):
            return bad("page_size should be a number")
        match path[1:].split("/"):
            case ["databases", "d9824bdc", "query"] if request.method == "POST":
                rows = self.tables["pages"]
            case ["blocks", page, "children"]:
                rows = self.blocks[page]
            case ["users"]:
                rows = self.tables["users"]
            case _:
                return bad("object_not_found", 404)
        begin = int(asked.get("start_cursor", 0))
        more = begin + self.size < len(rows)
        return web.json_response(
            {
                "object": "list", "results": rows[begin : begin + self.size], "has_more": more,
                "next_cursor": str(begin + self.size) if more else None,
            }
        )  # fmt: skip


class Airtable(Api):
    example = "airtable"
    values: ClassVar = {"AIRTABLE_TOKEN": "token-of-ours", "AIRTABLE_BASE": "app1"}
    base = "/v0/app1"

    def __init__(self) -> None:
        super().__init__()
        self.iterator = "itr1"
        self.tables = {
            "tasks": [
                {"id": f"rec{n}", "createdTime": "2024-01-01T00:00:00.000Z", "fields": {"n": n}}
                for n in range(10)
            ]
        }

    def too_fast(self) -> web.Response:
        return web.json_response(
            {"errors": [{"error": "RATE_LIMIT_REACHED"}]}, status=429, headers={"Retry-After": "30"}
        )

    def reply(self, request: web.Request, path: str, body: dict[str, Any]) -> web.Response:
        iterator, _, begin = request.query.get("offset", f"{self.iterator}/").partition("/")
        if iterator != self.iterator:
            return bad("LIST_RECORDS_ITERATOR_NOT_AVAILABLE", 422)
        rows, size = self.tables["tasks"], min(self.size, int(request.query["pageSize"]))
        first = int(begin or 0)
        reply: dict[str, Any] = {"records": rows[first : first + size]}
        if first + size < len(rows):
            reply["offset"] = f"{self.iterator}/{first + size}"
        return web.json_response(json.loads(json.dumps(reply)))


APIS: list[type[Api]] = [GitHub, Stripe, Shopify, HubSpot, Notion, Airtable]
