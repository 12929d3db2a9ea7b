"""Taps as they are on PyPI, in environments that the connector makes for them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import svcs
from aiohttp import web

from milepost import open_database, snapshots
from milepost.connectors import Access, Connector, Secrets, Table, open_connector, source_from
from milepost.downloads import DownloadRecords, download_records
from milepost.downloads.state import Downloaded
from milepost.errors import AuthenticationRefused
from milepost.testing import JobRun, Sandbox
from tests.connectors.conftest import Serve, Server
from tests.connectors.singer.conftest import ids
from tests.taps import CACHE, PACKAGES, install

ROWS: list[dict[str, Any]] = [
    {"id": number, "name": f"order {number}", "updated": f"2026-01-{number:02d}T00:00:00Z"}
    for number in range(1, 11)
]


@pytest.fixture(autouse=True)
async def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(CACHE))
    await install()


class Api:
    """Orders by page or by offset, for whoever has the token where one is wanted."""

    def __init__(self) -> None:
        self.rows = list(ROWS)
        self.refuses_after = 10**9
        self.asked = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.asked > self.refuses_after:
            return web.Response(status=401)
        if "offset" in request.query:
            since, begin = request.query["since"][:10], int(request.query["offset"])
            rows = [row for row in self.rows if row["updated"] >= since]
            return web.json_response(rows[begin : begin + 4])
        if request.headers.get("Authorization") != "Bearer open sesame":
            return web.Response(status=401)
        page = int(request.query.get("page", 1))
        rows = self.rows[(page - 1) * 4 : page * 4]
        more = page * 4 < len(self.rows)
        return web.json_response({"data": rows, "next": page + 1 if more else None})


def opened(tap: str, config: Mapping[str, Any], log: list[str] | None = None) -> Connector:
    source = source_from(f"singer:{tap}", package=PACKAGES[tap], config=config, page_size=4)
    told = [] if log is None else log
    secrets = Secrets({"TOKEN": "open sesame"})
    return open_connector(source, Access(secrets=secrets, on_log=told.append))


def msdk(server: Server) -> dict[str, Any]:
    stream = {
        "name": "orders", "path": "/orders", "records_path": "$.data[*]", "primary_keys": ["id"],
        "num_inference_records": 3,
    }  # fmt: skip
    return {
        "api_url": server.url, "auth_method": "bearer_token", "bearer_token": "$TOKEN",
        "next_page_token_path": "$.next", "streams": [stream],
    }  # fmt: skip


async def test_the_singer_sdk_reading_files(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    config = {"path": str(path), "stream_name": "orders", "primary_keys": ["id"]}
    connector = opened("tap-jsonl", config)
    [table] = await connector.tables()
    assert (table.name, table.key, table.columns["id"]) == ("orders", ("id",), "integer")
    pages = [page async for page in connector.pages("orders", after=None)]
    assert ids(pages) == list(range(1, 11))
    # Of a stream that is not sorted it says that it cannot go on in the middle: all comes again.
    first, *_, last = pages
    assert "not resumable" in json.dumps(first.cursor)
    assert "not resumable" not in json.dumps(last.bookmark)
    again = [page async for page in connector.pages("orders", after=first.cursor)]
    assert ids(again) == list(range(1, 11))


async def test_an_older_singer_sdk_reading_an_api_that_wants_a_token(serve: Serve) -> None:
    api, log = Api(), list[str]()
    server = await serve(api.answer)
    connector = opened("tap-rest-api-msdk", msdk(server), log)
    assert await connector.tables() == [
        Table("orders", ("id",), {"id": "integer", "name": "text", "updated": "text"})
    ]
    *_, last = pages = [page async for page in connector.pages("orders", after=None)]
    assert ids(pages) == list(range(1, 11))
    # It reads all of it each time, and says so by an empty state.
    assert last.bookmark is None
    assert log
    assert "open sesame" not in "".join(log)
    api.refuses_after = api.asked + 1
    with pytest.raises(AuthenticationRefused, match="401"):
        [page async for page in connector.pages("orders", after=None)]


async def test_singer_python_with_a_catalog_of_the_older_style_into_a_database(
    serve: Serve, tmp_path: Path
) -> None:
    api = Api()
    server = await serve(api.answer)
    (tmp_path / "schema").mkdir()
    properties = {
        "id": {"type": "integer"}, "name": {"type": "string"},
        "updated": {"type": "string", "format": "date-time"},
    }  # fmt: skip
    schema = {"type": "object", "properties": properties}
    (tmp_path / "schema" / "orders.json").write_text(json.dumps(schema))
    config = {
        "url": server.url + "/orders?offset={current_offset}&since={start_datetime}",
        "schema": "orders", "schema_dir": str(tmp_path / "schema"), "items_per_page": 4,
        "auth_method": "no_auth", "datetime_keys": {"orders": "updated"},
        "start_datetime": "2020-01-01T00:00:00",
    }  # fmt: skip
    tap = "tap-rest-api"
    source = source_from(f"singer:{tap}", package=PACKAGES[tap], config=config)
    into = str(tmp_path / "shop.db")

    async def download() -> JobRun[Downloaded]:
        services = svcs.Registry()
        services.register_value(Secrets, Secrets({}))
        async with Sandbox(services) as sandbox:
            return await sandbox.run(download_records, DownloadRecords(source=source, into=into))

    first = await download()
    assert first.result.tables["orders"].records == 10
    api.rows.append({"id": 11, "name": "order 11", "updated": "2026-01-11T00:00:00Z"})
    del api.rows[0]
    second = await download()
    result = second.result.tables["orders"]
    assert (result.records, result.partial, result.deleted) == (1, True, 0)
    database = open_database(into)
    with database.read() as conn:
        rows = snapshots.read_rows(conn, "orders")
    database.close()
    assert sorted(row["id"] for row in rows) == list(range(1, 12))
