import base64
import json
from typing import Any

import pytest
from aiohttp import web

from milepost.connectors import Page
from milepost.errors import AuthenticationRefused, ConnectorError, FatalConnectorError
from tests.connectors.conftest import Answer, Open, Serve, Server

TOKEN = 's3cr3t/+ =&%?#"ü'
ENV = {"TOKEN": TOKEN, "PASSWORD": "correct horse", "PIN": "12"}
CREDENTIALS: dict[str, Any] = {
    "headers": {"X-Shop": "v1", "Authorization": "Bearer $TOKEN"},
    "params": {"api_key": "$TOKEN", "pin": "$PIN", "status": "open"},
}


def redirecting(target: str, status: int = 302) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/orders":
            return web.Response(status=status, headers={"Location": target})
        return web.json_response([{"id": 1}])

    return answer


async def rows(_: web.Request) -> web.StreamResponse:
    return web.json_response([{"id": 1}])


def carried(server: Server) -> str:
    """Put all that a server was told into one text."""
    return "\n".join(
        f"{request.raw_path} {request.url} {dict(request.headers)} {dict(request.cookies)}"
        for request in server.requests
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("auth", ["headers", "basic"])
async def test_a_redirect_to_another_origin_carries_no_credentials(
    serve: Serve, open_http: Open, status: int, auth: str
) -> None:
    stranger = await serve(rows)
    server = await serve(redirecting(f"{stranger.url}/elsewhere?status=open&x=1", status))
    options = CREDENTIALS if auth == "headers" else {"basic_auth": "ann:$PASSWORD"}
    one = open_http(f"{server.url}/orders", env=ENV, **options)

    assert await one.records() == [{"id": 1}]
    told = carried(stranger).lower()
    assert "authorization" not in told
    assert "x-shop" not in told
    assert "s3cr3t" not in told
    assert "pin" not in told
    assert stranger.requests[0].query["x"] == "1"
    assert ("status" in stranger.requests[0].query) is (auth == "basic")
    assert "authorization" in carried(server).lower()


async def test_a_stranger_cannot_send_the_credentials_back(serve: Serve, open_http: Open) -> None:
    home = await serve(rows)
    stranger = await serve(redirecting(f"{home.url}/other"))
    home.answer = redirecting(f"{stranger.url}/orders")
    one = open_http(f"{home.url}/orders", env=ENV, **CREDENTIALS)

    assert await one.records() == [{"id": 1}]
    assert [request.path for request in home.requests] == ["/orders", "/other"]
    assert "Authorization" in home.requests[0].headers
    assert "Authorization" not in home.requests[1].headers


async def test_a_redirect_at_home_keeps_the_credentials(serve: Serve, open_http: Open) -> None:
    server = await serve(redirecting("/v2/orders"))
    one = open_http(f"{server.url}/orders", env=ENV, **CREDENTIALS)

    assert await one.records() == [{"id": 1}]
    last = server.requests[-1]
    assert last.headers["Authorization"].startswith("Bearer ")
    assert last.query["api_key"] == TOKEN


@pytest.mark.parametrize("target", ["/orders", "ftp://example.com/x", "http://[bad"])
async def test_redirects_that_lead_nowhere_end(serve: Serve, open_http: Open, target: str) -> None:
    server = await serve(redirecting(target))
    with pytest.raises(FatalConnectorError):
        await open_http(f"{server.url}/orders").pages()
    assert len(server.requests) <= 6


async def test_a_stranger_that_wants_credentials_is_named(serve: Serve, open_http: Open) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.Response(status=401)

    stranger = await serve(refuse)
    server = await serve(redirecting(f"{stranger.url}/elsewhere"))
    with pytest.raises(AuthenticationRefused, match="redirected to .*use its URL as the source"):
        await open_http(f"{server.url}/orders", env=ENV, **CREDENTIALS).pages()


def spelled(secret: str) -> list[str]:
    basic = base64.b64encode(f"ann:{ENV['PASSWORD']}".encode()).decode()
    in_urls = ["correct horse", "correct%20horse", "correct+horse", "pin=12"]
    return [secret, "s3cr3t", *in_urls, basic]


@pytest.mark.parametrize("way", ["link", "next", "cursor"])
async def test_secrets_are_in_no_cursor_and_yet_resume(
    serve: Serve, open_http: Open, way: str
) -> None:
    """The server repeats the parameters, its own path and the password in what comes next."""

    async def answer(request: web.Request) -> web.StreamResponse:
        page = int(request.query.get("page", 1))
        assert request.query["api_key"] == TOKEN
        assert request.query["pin"] == "12"
        assert request.match_info["path"] == "correct horse/orders"
        following = str(request.url.update_query(page=page + 1, again="correct horse", d="$5"))
        assert request.query.get("d", "$5") == "$5"
        assert request.query.get("again", "correct horse") == "correct horse"
        if way == "cursor" and page > 1:
            assert request.query["page"] == str(page)
        headers: dict[str, str] = {}
        body: dict[str, Any] = {"data": [{"id": page}]}
        if page < 4 and way == "link":
            headers = {"Link": f"<{following}>; rel=next"}
        elif page < 4 and way == "next":
            body |= {"next": following}
        elif page < 4:
            body |= {"next_page": page + 1, "again": "correct horse"}
        return web.json_response(body, headers=headers)

    server = await serve(answer)
    one = open_http(f"{server.url}/$PASSWORD/orders", env=ENV, **CREDENTIALS)
    pages: list[Page] = await one.pages()

    assert [record["id"] for page in pages for record in page.records] == [1, 2, 3, 4]
    for page in pages:
        stored = json.dumps(page.cursor, ensure_ascii=False)
        assert not [secret for secret in spelled(TOKEN) if secret in stored], stored
    # Another process has only what was stored, and the environment.
    for done, page in enumerate(pages[:-1], start=1):
        other = open_http(f"{server.url}/$PASSWORD/orders", env=ENV, **CREDENTIALS)
        rest = await other.records(after=json.loads(json.dumps(page.cursor)))
        assert [record["id"] for record in rest] == list(range(done + 1, 5))


async def test_a_cursor_that_is_a_secret_is_sealed(serve: Serve, open_http: Open) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.query.get("cursor") == f"{TOKEN}$2":
            return web.json_response({"data": [{"id": 2}], "next_cursor": None})
        return web.json_response({"data": [{"id": 1}], "next_cursor": f"{TOKEN}$2"})

    server = await serve(answer)
    one = open_http(f"{server.url}/orders", env=ENV, **CREDENTIALS)
    first = await anext(one.connector.pages("orders", after=None))

    assert first.cursor["value"] == "${TOKEN}$$2"
    assert await one.records(after=first.cursor) == [{"id": 2}]


@pytest.mark.parametrize("status", [200, 302, 401, 404, 429, 500])
@pytest.mark.parametrize("auth", ["headers", "basic"])
async def test_secrets_are_in_no_error(
    serve: Serve, open_http: Open, status: int, auth: str
) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        told = f"you sent {request.raw_path} {request.query} {dict(request.headers)} {TOKEN}"
        headers = {"Location": f"mailto:{request.raw_path}"} if status == 302 else {}
        return web.Response(status=status, text=json.dumps(told)[1:], headers=headers)

    server = await serve(echo)
    options = CREDENTIALS if auth == "headers" else {"basic_auth": "ann:$PASSWORD"}
    address = f"{server.url}/orders?also=$TOKEN&again=$PASSWORD"
    one = open_http(address, env=ENV, max_tries=2, **options)
    with pytest.raises(ConnectorError) as caught:
        await one.pages()

    for said in [str(caught.value), *one.said]:
        assert not [secret for secret in spelled(TOKEN) if secret in said], said
        assert "$TOKEN" in said
    assert caught.value.__cause__ is None


async def test_a_connection_error_holds_no_secret(open_http: Open, unused_tcp_port: int) -> None:
    address = f"http://127.0.0.1:{unused_tcp_port}/$TOKEN/orders"
    with pytest.raises(ConnectorError) as caught:
        await open_http(address, env={"TOKEN": "open-sesame"}, max_tries=1).pages()
    assert "open-sesame" not in str(caught.value)


async def test_a_line_break_in_a_secret_is_explained(open_http: Open) -> None:
    with pytest.raises(FatalConnectorError, match=r"Authorization .* holds a line break"):
        open_http("http://x/y", headers={"Authorization": "$TOKEN"}, env={"TOKEN": "open\n"})


async def test_a_table_is_not_named_by_a_secret(open_http: Open) -> None:
    one = open_http("http://x/bot$TOKEN", env={"TOKEN": "open-sesame"})
    assert [table.name for table in await one.connector.tables()] == ["bot_TOKEN"]


async def test_cookies_are_not_kept(serve: Serve, open_http: Open) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert not request.cookies
        page = int(request.query.get("page", 1))
        response = web.json_response({"page": page, "pages": 3, "data": [{"id": page}]})
        response.set_cookie("session", "x")
        return response

    server = await serve(answer)
    assert len(await open_http(f"{server.url}/orders").records()) == 3
