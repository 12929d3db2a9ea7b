"""What `connection:NAME` stands for when a job opens it."""

from pathlib import Path
from typing import Any

import pytest
import svcs
from aiohttp import web

from milepost.connections import Connections
from milepost.connectors import HttpSource, Secrets, open_connector, source_from
from milepost.connectors.connection.source import ConnectionSource
from milepost.connectors.kinds import Access
from milepost.downloads import DownloadRecords, Sources, download_records
from milepost.errors import FatalConnectorError
from milepost.store import jobs
from milepost.testing import JobRun, Sandbox
from tests.connections.conftest import SHOP, WithKeys
from tests.connectors.conftest import Serve, Server


def test_a_connection_is_described_by_its_name_its_tables_and_what_is_otherwise() -> None:
    described = source_from("connection:shop", tables=["orders"], page_size=7)
    assert described == ConnectionSource(name="shop", tables=("orders",), options={"page_size": 7})
    assert isinstance(described, ConnectionSource)
    resolved: Any = ConnectionSource(
        name="shop", options={"page_size": 7, "headers": {"X-Region": "us"}}
    ).resolved(SHOP)
    assert resolved.page_size == 7
    assert resolved.headers == {"Authorization": "Bearer $TOKEN", "X-Region": "us"}
    assert resolved.tables == SHOP.tables


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "https://evil.example"}, "url of a connection stays as it is stored"),
        ({"tap": "/tmp/evil"}, "tap of a connection stays as it is stored"),
        ({"auth": {"type": "bearer", "token": "$X"}}, "auth of a connection stays"),
        ({"basic_auth": "me:$X"}, "basic_auth of a connection stays"),
        ({"headers": {"X-Api-Key": "plain"}}, "X-Api-Key holds a secret in plain text"),
        ({"tables": {"a": {"params": {"token": "plain"}}}}, "token holds a secret in plain text"),
    ],
)
def test_credentials_cannot_be_sent_elsewhere_nor_stored_in_plain(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(FatalConnectorError, match=said):
        source_from("connection:shop", **options)


def test_a_path_for_a_table_or_a_wrong_field_is_refused() -> None:
    with pytest.raises(FatalConnectorError, match="by name, without a path: not a=b"):
        source_from("connection:shop", tables=["a=b"])
    with pytest.raises(FatalConnectorError, match="'shop': the source is not described well: colo"):
        ConnectionSource(name="shop", options={"colour": "red"}).resolved(SHOP)
    with pytest.raises(FatalConnectorError, match="by a worker of that store only"):
        open_connector(ConnectionSource(name="shop"), Access(secrets=Secrets({})))


class Shop:
    """A source that takes one token, and the jobs that read it through a connection."""

    def __init__(self, server: Server, connections: Connections, into: Path) -> None:
        self.server = server
        self.source = HttpSource(
            url=server.url, tables={"orders": "orders", "customers": "customers"}, max_tries=1,
            headers={"Authorization": "Bearer $TOKEN"},
        )  # fmt: skip
        self.connections = connections
        self.services = svcs.Registry()
        # The environment has a token too, and the connection's own goes first.
        secrets = Secrets({"TOKEN": "of the environment"})
        self.services.register_value(Sources, Sources(secrets, connections=connections))
        self._into = into

    def args(self, name: str = "shop", **options: Any) -> DownloadRecords:
        source = source_from(f"connection:{name}", **options)
        return DownloadRecords(source=source, into=str(self._into))

    async def run(self, name: str = "shop", **options: Any) -> JobRun[Any]:
        async with Sandbox(self.services) as sandbox:
            return await sandbox.run(download_records, self.args(name, **options))


@pytest.fixture
async def shop(serve: Serve, with_keys: WithKeys, keys: list[str], tmp_path: Path) -> Shop:
    async def answer(request: web.Request) -> web.StreamResponse:
        good = request.headers["Authorization"] == "Bearer good-token"
        if request.query.get("cursor"):
            return web.json_response({"data": [{"id": 2}]}, status=200 if good else 401)
        return web.json_response({"data": [{"id": 1}], "next_cursor": "2"})

    return Shop(await serve(answer), with_keys(keys[0]), tmp_path / "snapshot.db")


async def test_a_job_holds_the_name_and_a_new_secret_counts_from_its_next_attempt(
    shop: Shop,
) -> None:
    await shop.connections.add("shop", shop.source, {"TOKEN": "bad-token"})
    async with Sandbox(shop.services) as sandbox:
        job_id = await sandbox.submit(download_records, shop.args(tables=["orders"]))
        await sandbox.attempt(download_records)
        refused = await sandbox.look(download_records, job_id)
        assert refused.view.error is not None
        assert refused.view.error.endswith("Check $TOKEN")
        assert refused.view.args.startswith(
            '{"source":{"name":"shop","kind":"connection","tables":["orders"],"options":{}}'
        )
        await shop.connections.set_credential("shop", "TOKEN", "good-token")
        await sandbox.database.run(jobs.retry, sandbox.database.clock, job_id)
        await sandbox.attempt(download_records)
        done = await sandbox.look(download_records, job_id)
    assert {name: each.records for name, each in done.result.tables.items()} == {"orders": 2}
    assert "of the environment" not in str(
        [request.headers["Authorization"] for request in shop.server.requests]
    )


async def test_what_is_wrong_with_a_connection_fails_the_job_at_once(
    shop: Shop, with_keys: WithKeys, keys: list[str]
) -> None:
    await shop.connections.add("shop", shop.source, {"TOKEN": "good-token"})
    missing = (await shop.run("shpo")).view
    assert missing.state == "failed"
    assert missing.error == "there is no connection 'shpo'; there are: shop"
    unknown = (await shop.run(tables=["nope"])).view
    assert unknown.error == "the connection has no table 'nope'; it has: orders, customers"

    await with_keys(keys[1]).rotate(forget=True)
    await with_keys(keys[1]).set_credential("shop", "TOKEN", "x")
    locked = (await shop.run()).view
    assert locked.state == "failed"
    assert "'shop' cannot be decrypted with the key of MILEPOST_SECRET_KEY" in str(locked.error)


async def test_a_bookmark_is_of_one_connection_as_it_is_described(shop: Shop) -> None:
    async def fingerprint(name: str, **options: Any) -> str:
        sources = Sources(Secrets({}), connections=shop.connections)
        source = source_from(f"connection:{name}", **options)
        return (await sources.find(source)).fingerprint

    await shop.connections.add("shop", SHOP, {"TOKEN": "x"})
    await shop.connections.add("other", SHOP, {"TOKEN": "y"})
    before = await fingerprint("shop")
    assert await fingerprint("other") != before
    assert await fingerprint("shop", params={"region": "us"}) != before
    assert await fingerprint("shop", tables=["orders"]) == before
    await shop.connections.set_credential("shop", "TOKEN", "new")
    assert await fingerprint("shop") == before
    await shop.connections.add("shop", shop.source, {}, replace=True)
    assert await fingerprint("shop") != before
