"""Who asks: what each request carries, and tokens that are renewed once."""

import asyncio
import base64
from typing import Any

import pytest
from aiohttp import web

from milepost.connectors import Access, Secrets, open_connector, source_from
from milepost.connectors.http.connector import HttpConnector
from milepost.connectors.tokens import OwnTokens, Tokens
from milepost.errors import AuthenticationRefused, FatalConnectorError
from tests.connectors.conftest import Open, Serve, Server

ROWS = [{"id": 1}]
VALUES = {"TOKEN": "open sesame", "ID": "milepost", "SECRET": "s3cret/+", "PASSWORD": "pass word"}


class Guarded:
    """An API that lets in who carries one of its tokens, and the server that gives them."""

    def __init__(self, server: Server, **lasts: Any) -> None:
        self.server = server
        self.lasts = lasts
        self.given = 0
        self.valid: set[str] = set()
        self.asked_for_tokens: list[dict[str, Any]] = []
        self.refresh = "first"
        self.new_token = self._new
        server.answer = self.answer

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            return await self._give(request)
        if request.path == "/login":
            self.asked_for_tokens.append(await request.json())
            return web.json_response({"data": {"session": self.new_token()}})
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if (token or request.headers.get("X-Session")) not in self.valid:
            return web.json_response({"sent": dict(request.headers)}, status=401)
        return web.json_response(ROWS)

    async def _give(self, request: web.Request) -> web.StreamResponse:
        form = {**await request.post(), "authorization": request.headers.get("Authorization")}
        self.asked_for_tokens.append(form)
        await asyncio.sleep(0.02)
        reply: dict[str, Any] = {"access_token": self.new_token(), **self.lasts}
        if form["grant_type"] == "refresh_token":
            if form["refresh_token"] != self.refresh:
                return web.json_response({"error": "invalid_grant"}, status=400)
            self.refresh = reply["refresh_token"] = f"{self.refresh}+"
        return web.json_response(reply)

    def _new(self) -> str:
        self.given += 1
        token = f"access-{self.given}"
        self.valid = {token}
        return token

    def open(
        self, auth: dict[str, Any], tokens: Tokens | None = None, **values: str
    ) -> HttpConnector:
        source = source_from(f"{self.server.url}/orders", auth=auth)
        secrets = Secrets({**VALUES, **values})
        access = Access(secrets=secrets, tokens=tokens or OwnTokens())
        connector = open_connector(source, access)
        assert isinstance(connector, HttpConnector)
        return connector


async def guarded(serve: Serve, **lasts: Any) -> Guarded:
    async def nothing(_: web.Request) -> web.StreamResponse:
        raise NotImplementedError

    return Guarded(await serve(nothing), **lasts)


async def rows(connector: HttpConnector) -> list[Any]:
    return [each async for page in connector.pages("orders", after=None) for each in page.records]


@pytest.mark.parametrize(
    ("auth", "headers", "query"),
    [
        ({"type": "bearer", "token": "$TOKEN"}, {"Authorization": "Bearer open sesame"}, {}),
        (
            {"type": "bearer", "token": "$TOKEN", "scheme": "Token"},
            {"Authorization": "Token open sesame"}, {},
        ),
        (
            {"type": "basic", "user": "ada", "password": "$PASSWORD"},
            {"Authorization": "Basic " + base64.b64encode(b"ada:pass word").decode()}, {},
        ),
        ({"type": "api-key", "value": "$TOKEN", "name": "X-Key"}, {"X-Key": "open sesame"}, {}),
        (
            {"type": "api-key", "value": "$TOKEN", "name": "key", "into": "query"},
            {}, {"key": "open sesame"},
        ),
    ],
    ids=str,
)  # fmt: skip
async def test_what_does_not_change_is_sent_with_each_request(
    serve: Serve, open_http: Open, auth: Any, headers: dict[str, str], query: dict[str, str]
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        page = int(request.query.get("cursor", 1))
        return web.json_response(
            {"data": [{"id": page}], "next_cursor": None if page == 2 else "2"}
        )

    server = await serve(answer)
    one = open_http(f"{server.url}/orders", auth=auth, env=VALUES)
    await one.records()
    assert len(server.requests) == 2
    for request in server.requests:
        assert headers.items() <= request.headers.items()
        assert query.items() <= request.query.items()


@pytest.mark.parametrize("field", ["token", "password", "value", "client_secret", "refresh_token"])
def test_a_plain_secret_is_refused(field: str) -> None:
    made = {
        "token": {"type": "bearer"},
        "password": {"type": "basic", "user": "ada"},
        "value": {"type": "api-key"},
        "client_secret": {
            "type": "client-credentials",
            "token_url": "http://h/t",
            "client_id": "m",
        },
        "refresh_token": {"type": "refresh-token", "token_url": "http://h/t", "client_id": "m"},
    }[field]
    with pytest.raises(FatalConnectorError, match="secret in plain text") as refused:
        source_from("http://h/orders", auth={**made, field: "hunter2"})
    assert "hunter2" not in str(refused.value)


async def test_client_credentials_are_exchanged_for_a_token_which_serves_till_it_expires(
    serve: Serve,
) -> None:
    api = await guarded(serve, expires_in=3600)
    auth = {
        "type": "client-credentials", "token_url": f"{api.server.url}/token", "client_id": "$ID",
        "client_secret": "$SECRET", "scope": "read", "params": {"audience": "orders"},
    }  # fmt: skip
    connector = api.open(auth)
    assert await rows(connector) == ROWS
    assert await rows(connector) == ROWS
    [form] = api.asked_for_tokens
    login = base64.b64decode(form.pop("authorization").removeprefix("Basic ")).decode()
    assert login == "milepost:s3cret/+"
    assert form == {"grant_type": "client_credentials", "scope": "read", "audience": "orders"}
    await connector.aclose()


async def test_a_token_is_renewed_before_it_expires(serve: Serve) -> None:
    api = await guarded(serve, expires_in=20)
    auth = {
        "type": "client-credentials", "token_url": f"{api.server.url}/token", "client_id": "$ID",
        "client_secret": "$SECRET", "client_in": "body",
    }  # fmt: skip
    connector = api.open(auth)
    await rows(connector)
    # Twenty seconds are too few to be sure of the next request.
    await rows(connector)
    assert api.given == 2
    assert api.asked_for_tokens[0]["client_secret"] == "s3cret/+"
    await connector.aclose()


async def test_a_token_that_is_refused_early_is_renewed_and_the_request_sent_again(
    serve: Serve,
) -> None:
    api = await guarded(serve)
    auth = {
        "type": "refresh-token", "token_url": f"{api.server.url}/token", "client_id": "$ID",
        "refresh_token": "$REFRESH",
    }  # fmt: skip
    connector = api.open(auth, REFRESH="first")
    await rows(connector)
    api.valid = set()
    assert await rows(connector) == ROWS
    # The second time with what the first had brought: this server takes each only once.
    assert [form["refresh_token"] for form in api.asked_for_tokens] == ["first", "first+"]
    await connector.aclose()


async def test_of_many_that_need_a_token_one_gets_it(serve: Serve) -> None:
    api = await guarded(serve, expires_in=3600)
    auth = {
        "type": "refresh-token", "token_url": f"{api.server.url}/token", "client_id": "$ID",
        "refresh_token": "$REFRESH",
    }  # fmt: skip
    tokens = OwnTokens()
    connectors = [api.open(auth, tokens, REFRESH="first") for _ in range(8)]
    assert await asyncio.gather(*map(rows, connectors)) == [ROWS] * 8
    assert api.given == 1
    for connector in connectors:
        await connector.aclose()


async def test_a_session_is_opened_by_a_login_and_again_when_it_has_ended(serve: Serve) -> None:
    api = await guarded(serve)
    auth = {
        "type": "session", "login_url": f"{api.server.url}/login",
        "body": {"user": "ada", "password": "$PASSWORD"}, "token_path": "data.session",
        "header": "X-Session", "prefix": "",
    }  # fmt: skip
    connector = api.open(auth)
    await rows(connector)
    api.valid = set()
    await rows(connector)
    assert api.asked_for_tokens == [{"user": "ada", "password": "pass word"}] * 2
    await connector.aclose()


async def test_who_gets_no_token_is_told_which_secret_to_look_at(serve: Serve) -> None:
    api = await guarded(serve)
    auth = {
        "type": "refresh-token", "token_url": f"{api.server.url}/token", "client_id": "$ID",
        "refresh_token": "$REFRESH",
    }  # fmt: skip
    connector = api.open(auth, REFRESH="another token")
    with pytest.raises(
        AuthenticationRefused, match=r"400 Bad Request: it gave no token.*\$REFRESH"
    ):
        await rows(connector)
    report = await connector.test()
    assert (report.reached, report.authenticated) == (True, False)
    await connector.aclose()


async def test_a_token_that_the_server_repeats_is_not_shown(serve: Serve) -> None:
    api = await guarded(serve)
    auth = {
        "type": "client-credentials", "token_url": f"{api.server.url}/token", "client_id": "$ID",
        "client_secret": "$SECRET",
    }  # fmt: skip
    connector = api.open(auth)
    await rows(connector)

    def refused_at_once() -> str:
        api.given += 1
        api.valid = set()
        return f"access-{api.given}"

    api.new_token = refused_at_once
    api.valid = set()
    with pytest.raises(AuthenticationRefused) as refused:
        await rows(connector)
    assert "access-" not in str(refused.value)
    assert "$ACCESS_TOKEN" in str(refused.value)
    await connector.aclose()


@pytest.mark.parametrize("token", ["live$s3cr3tpart", "${HOME}x", "$$"])
async def test_a_secret_may_hold_what_looks_like_a_variable(
    serve: Serve, open_http: Open, token: str
) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(ROWS)

    server = await serve(answer)
    one = open_http(
        f"{server.url}/orders", auth={"type": "bearer", "token": "$T"}, env={"T": token}
    )
    await one.records()
    assert server.requests[0].headers["Authorization"] == f"Bearer {token}"


@pytest.mark.parametrize(
    "auth",
    [
        {"type": "session", "login_url": "http://h/l", "body": {"user": "$U", "password": "hunter2"}},
        {"type": "session", "login_url": "http://h/l?api_key=hunter2", "body": {"password": "$P"}},
        {"type": "client-credentials", "token_url": "http://u:hunter2@h/t", "client_id": "m",
         "client_secret": "$S"},
        {"type": "client-credentials", "token_url": "http://h/t", "client_id": "m",
         "client_secret": "$S", "params": {"password": "hunter2"}},
    ],
)  # fmt: skip
def test_a_plain_secret_beside_others_is_refused_too(auth: dict[str, Any]) -> None:
    with pytest.raises(FatalConnectorError) as refused:
        source_from("http://h/orders", auth=auth)
    assert "hunter2" not in str(refused.value)


async def test_who_is_cancelled_while_a_token_is_on_its_way_does_not_lose_it(serve: Serve) -> None:
    api = await guarded(serve)
    auth = {
        "type": "refresh-token", "token_url": f"{api.server.url}/token", "client_id": "$ID",
        "refresh_token": "$REFRESH",
    }  # fmt: skip
    tokens = OwnTokens()
    connector = api.open(auth, tokens, REFRESH="first")
    reading = asyncio.ensure_future(rows(connector))
    while not api.asked_for_tokens:
        await asyncio.sleep(0.001)
    reading.cancel()
    await asyncio.wait([reading])
    # The server takes each refresh token once: the second one must be what the first had brought.
    assert await rows(connector) == ROWS
    assert api.given == 1
    await connector.aclose()


async def test_another_audience_has_a_token_of_its_own(serve: Serve) -> None:
    api = await guarded(serve)
    tokens = OwnTokens()
    for audience in ("a", "b"):
        auth = {
            "type": "client-credentials", "token_url": f"{api.server.url}/token", "client_id": "$ID",
            "client_secret": "$SECRET", "params": {"audience": audience},
        }  # fmt: skip
        connector = api.open(auth, tokens)
        await rows(connector)
        await connector.aclose()
    assert [form["audience"] for form in api.asked_for_tokens] == ["a", "b"]


async def test_a_token_in_the_link_to_the_next_page_is_not_stored(serve: Serve) -> None:
    api = await guarded(serve)
    real = api.answer

    async def answer(request: web.Request) -> web.StreamResponse:
        reply = await real(request)
        if request.path != "/orders" or reply.status != 200:
            return reply
        token = next(iter(api.valid))
        page = int(request.query.get("page", 1))
        following = f"/orders?access_token={token}&page={page + 1}" if page < 3 else None
        return web.json_response({"data": [{"id": page}], "next": following})

    api.server.answer = answer
    auth = {"type": "session", "login_url": f"{api.server.url}/login", "body": {"password": "$PASSWORD"},
            "token_path": "data.session"}  # fmt: skip
    connector = api.open(auth)
    pages = [page async for page in connector.pages("orders", after=None)]
    assert [record["id"] for page in pages for record in page.records] == [1, 2, 3]
    assert not any("access-" in str(page.cursor) for page in pages)
    await connector.aclose()
