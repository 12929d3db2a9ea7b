"""The contract of connectors, kept by those that come with Milepost."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import ClassVar

import pytest
from aiohttp import web

from milepost.connectors import Access, Connector, Secrets, open_connector, source_from
from milepost.testing.connectors import ConnectorContract, Fault, World
from tests.connectors.conftest import Server
from tests.connectors.worlds import TABLES, suffering


class Api:
    """An API that pages by a cursor, wants a token, and misbehaves when told."""

    key = "id"

    def __init__(self) -> None:
        self.tables = TABLES
        self.server = Server(self._answer)
        self._fault: Fault | None = None
        self._asked = 0

    async def suffer(self, fault: Fault) -> None:
        self._fault, self._asked = fault, 0
        self.tables = suffering(self.tables, fault)

    async def open(self) -> Connector:
        source = source_from(
            self.server.url, tables=list(self.tables), headers={"Authorization": "Bearer $TOKEN"},
            wait_at_most=timedelta(milliseconds=50), max_tries=3,
        )  # fmt: skip
        return open_connector(source, Access(secrets=Secrets({"TOKEN": "open sesame"})))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self._asked += 1
        begin = int(request.query.get("cursor", 0))
        match self._fault:
            case "too many requests":
                return web.Response(status=429, headers={"Retry-After": "1"})
            case "slow":
                await asyncio.sleep(60)
            case "credentials refused" if self._asked > 1:
                return web.Response(status=401)
            case "truncated" if self._asked == 2:
                body = json.dumps({"data": self.tables[request.path[1:]]}).encode()
                return web.Response(body=body[:-9], content_type="application/json")
            case "repeated page" if self._asked == 3:
                begin -= 5
            case _:
                pass
        records = self.tables[request.path[1:]]
        after = begin + 5 if begin + 5 < len(records) else None
        return web.json_response(
            {"data": records[begin : begin + 5], "next_cursor": after and f"{after}"}
        )


class TestHttp(ConnectorContract):
    faults: ClassVar[frozenset[Fault]] = frozenset(
        {
            "too many requests",
            "truncated",
            "repeated page",
            "slow",
            "credentials refused",
            "changed type",
            "duplicate keys",
        }
    )

    @pytest.fixture
    async def world(self) -> AsyncIterator[World]:
        api = Api()
        await api.server.start()
        yield api
        await api.server.aclose()
