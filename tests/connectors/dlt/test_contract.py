"""The contract of connectors, kept by dlt's own source for APIs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
from aiohttp import web

from milepost.connectors import Connector
from milepost.testing.connectors import ConnectorContract, Fault, World
from tests.connectors.conftest import Server
from tests.connectors.dlt.conftest import opened
from tests.connectors.worlds import TABLES, suffering


class Api:
    """An API that gives what is newer, in order, and misbehaves when told."""

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
        config = {
            "client": {
                "base_url": self.server.url,
                "auth": {"type": "bearer", "token": "$TOKEN"},
                "paginator": {
                    "type": "cursor", "cursor_path": "next_cursor", "cursor_param": "cursor"
                },
            },
            "resource_defaults": {"primary_key": "id", "endpoint": {"data_selector": "data"}},
            "resources": [_resource(name) for name in self.tables],
        }  # fmt: skip
        return opened("dlt.sources.rest_api.rest_api", arguments=config, env={"TOKEN": "sesame"})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self._asked += 1
        match self._fault:
            case "too many requests":
                return web.Response(status=429, headers={"Retry-After": "1"})
            case "slow":
                await asyncio.sleep(0.8)
            case "credentials refused" if self._asked > 1:
                return web.Response(status=401)
            case _:
                pass
        if request.headers.get("Authorization") != "Bearer sesame":
            return web.Response(status=401)
        since = int(request.query.get("since", 0))
        records = [row for row in self.tables[request.path[1:]] if row["id"] >= since]
        begin = int(request.query.get("cursor", 0))
        if self._fault == "repeated page" and self._asked == 3:
            begin -= 5
        after = begin + 5 if begin + 5 < len(records) else None
        return web.json_response(
            {"data": records[begin : begin + 5], "next_cursor": after and f"{after}"}
        )


def _resource(name: str) -> dict[str, Any]:
    incremental = {
        "cursor_path": "id", "initial_value": 0, "start_param": "since", "row_order": "asc"
    }  # fmt: skip
    return {"name": name, "endpoint": {"path": name, "incremental": incremental}}


class TestDlt(ConnectorContract):
    faults: ClassVar[frozenset[Fault]] = frozenset(
        # A key that comes again is dropped by dlt's incremental loading itself.
        {"slow", "too many requests", "repeated page", "credentials refused", "changed type"}
    )

    @pytest.fixture
    async def world(self) -> AsyncIterator[World]:
        api = Api()
        await api.server.start()
        yield api
        await api.server.aclose()
