"""Connections over HTTP: credentials go in, and nothing brings them out again."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from milepost.client import ApiError, Client
from milepost.connectors import source_from
from milepost.web import Server
from tests.web.conftest import Service

SECRET = "hunter2-hunter2"
SOURCE = {
    "kind": "http",
    "url": "https://api.example.com/orders",
    "headers": {"Authorization": "Bearer $TOKEN"},
}


@pytest.fixture(params=["sqlite"])
def database_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    server = Server(service.milepost, host="127.0.0.1", port=0)
    async with server, Client(server.url) as client:
        yield client


def kept_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob("store.db*"))


async def test_a_connection_is_made_replaced_and_forgotten(
    service: Service, client: Client
) -> None:
    reply = await service.http.post(
        "/connections", json={"name": "shop", "source": SOURCE, "credentials": {"TOKEN": SECRET}}
    )
    assert (reply.status_code, reply.json()["encrypted"]) == (201, True)
    assert (await service.milepost.connections.find("shop")).credentials == {"TOKEN": SECRET}
    again = await service.http.post("/connections", json={"name": "shop", "source": SOURCE})
    assert (again.status_code, again.json()["title"]) == (409, "Name is taken")

    [listed] = await client.connections()
    assert (listed.name, listed.kind, listed.encrypted) == ("shop", "http", True)
    other = source_from("https://other.example.com/orders")
    replaced = await client.replace_connection("shop", other)
    assert not replaced.encrypted
    assert (await service.milepost.connections.find("shop")).credentials == {}
    await client.add_connection("second", other)
    await client.forget_connection("shop")
    assert [each.name for each in await client.connections()] == ["second"]
    for gone in (client.forget_connection("shop"), client.replace_connection("shop", other)):
        with pytest.raises(ApiError, match="there is no connection 'shop'"):
            await gone


async def test_what_is_secret_is_in_no_reply_and_not_plain_in_the_store(
    service: Service, tmp_path: Path
) -> None:
    order = {"name": "shop", "source": SOURCE, "credentials": {"TOKEN": SECRET}}
    replies = [
        await service.http.post("/connections", json=order),
        await service.http.get("/connections"),
        await service.http.post("/connections", json=order),
        await service.http.put("/connections/shop", json=order),
        await service.http.post("/connections", json={**order, "credentials": {"OTHER": SECRET}}),
        await service.http.post("/connections", json={**order, "credentials": [SECRET]}),
        await service.http.post("/connections", json={**order, "name": SECRET * 10}),
    ]
    assert [reply.status_code for reply in replies] == [201, 200, 409, 422, 422, 422, 422]
    assert "this source has no $OTHER; it has: $TOKEN" in replies[4].text
    assert not [reply.text for reply in replies[:-1] if SECRET in reply.text]
    assert SECRET.encode() not in kept_in(tmp_path)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"kind": "nope"}, "nope"),
        ({}, "does not say its kind"),
        ({**SOURCE, "headers": {"Authorization": f"Bearer {SECRET}"}}, "in plain text"),
        ({"kind": "connection", "name": "x"}, "not to another connection"),
    ],
)
async def test_a_source_that_does_not_fit_is_refused(
    service: Service, source: dict[str, str], says: str
) -> None:
    reply = await service.http.post("/connections", json={"name": "x", "source": source})
    assert (reply.status_code, says in reply.json()["detail"]) == (422, True)
    assert SECRET not in reply.text


async def test_without_its_key_no_credential_is_taken(service: Service, tmp_path: Path) -> None:
    order = {"name": "one", "source": SOURCE, "credentials": {"TOKEN": SECRET}}
    assert (await service.http.post("/connections", json=order)).status_code == 201
    (tmp_path / "milepost.key").unlink()
    reply = await service.http.post("/connections", json={**order, "name": "two"})
    assert (reply.status_code, reply.json()["title"]) == (409, "Key is not fit")
