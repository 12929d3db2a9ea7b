import asyncio
import gzip
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web

from milepost.errors import (
    AuthenticationRefused,
    FatalConnectorError,
    RetryableConnectorError,
)
from tests.connectors.conftest import Answer, Open, Serve

ROWS = [{"id": 1}]


def then_rows(*failures: web.Response | str) -> Answer:
    """Answer with each failure once, then with the records."""
    left = list(failures)

    async def answer(request: web.Request) -> web.StreamResponse:
        if not left:
            return web.json_response(ROWS)
        failure = left.pop(0)
        if isinstance(failure, web.Response):
            return failure
        response = web.StreamResponse(headers={"Content-Length": "100"})
        if failure == "chunked":
            response = web.StreamResponse()
            response.enable_chunked_encoding()
        assert request.transport is not None
        if failure != "silent":
            await response.prepare(request)
            await response.write(b'[{"id": 1')
        request.transport.close()
        return response

    return answer


def always(**options: Any) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(**options)

    return answer


@pytest.mark.parametrize(
    "failure",
    [
        web.Response(status=503),
        web.Response(status=500, text="<html>oops"),
        web.Response(status=429),
        web.Response(status=408),
        web.Response(text='[{"id": 1', content_type="application/json"),
        "length",
        "chunked",
        "silent",
    ],
    ids=str,
)
async def test_what_may_pass_is_asked_again(
    serve: Serve, open_http: Open, failure: web.Response | str
) -> None:
    server = await serve(then_rows(failure))
    one = open_http(f"{server.url}/orders")

    assert await one.records() == ROWS
    # A connection that closes without a reply is asked again by aiohttp itself, too.
    assert len(server.requests) >= 2
    assert all(0.25 <= wait <= 0.5 for wait in one.waited)
    assert all(said.startswith(server.url) for said in one.said)


async def test_a_storm_of_429_is_sat_out_as_the_server_says(serve: Serve, open_http: Open) -> None:
    storm = [web.Response(status=429, headers={"Retry-After": "2"}) for _ in range(5)]
    server = await serve(then_rows(*storm))
    one = open_http(f"{server.url}/orders")

    assert await one.records() == ROWS
    assert one.waited == [2.0] * 5
    assert one.said[0] == f"{server.url}/orders: 429 Too Many Requests"


async def test_back_off_grows_and_ends(serve: Serve, open_http: Open) -> None:
    server = await serve(always(status=502))
    one = open_http(f"{server.url}/orders", max_tries=6)
    with pytest.raises(RetryableConnectorError, match=r"502 Bad Gateway \(tries: 6\)") as caught:
        await one.pages()

    assert len(server.requests) == 6
    for number, wait in enumerate(one.waited):
        assert 0.25 * 2**number <= wait <= 0.5 * 2**number
    assert caught.value.retry_after is None


async def test_too_long_a_wait_is_handed_over(serve: Serve, open_http: Open) -> None:
    server = await serve(always(status=429, headers={"Retry-After": "3600"}))
    one = open_http(f"{server.url}/orders")
    with pytest.raises(RetryableConnectorError) as caught:
        await one.pages()

    assert caught.value.retry_after == timedelta(hours=1)
    assert one.waited == []


async def test_a_server_that_never_keeps_its_word_is_not_asked_all_the_time(
    serve: Serve, open_http: Open
) -> None:
    server = await serve(always(status=503, headers={"Retry-After": "0"}))
    one = open_http(f"{server.url}/orders")
    with pytest.raises(RetryableConnectorError, match=r"tries: 8") as caught:
        await one.pages()

    assert caught.value.retry_after == timedelta(minutes=1)


async def test_all_waits_for_a_page_together_are_bounded(serve: Serve, open_http: Open) -> None:
    server = await serve(always(status=429, headers={"Retry-After": "25"}))
    one = open_http(f"{server.url}/orders")
    with pytest.raises(RetryableConnectorError):
        await one.pages()
    assert one.waited == [25.0, 25.0]


@pytest.mark.parametrize("seconds", [30, -30])
async def test_retry_after_may_be_a_date_by_the_servers_clock(
    serve: Serve, open_http: Open, seconds: int
) -> None:
    clock = datetime(2020, 5, 17, 12, 0, tzinfo=UTC)
    headers = {
        "Date": format_datetime(clock, usegmt=True),
        "Retry-After": format_datetime(clock + timedelta(seconds=seconds), usegmt=True),
    }
    server = await serve(then_rows(web.Response(status=503, headers=headers)))
    one = open_http(f"{server.url}/orders")
    assert await one.records() == ROWS
    assert one.waited == [max(seconds, 0)]


async def test_an_exhausted_rate_limit_may_come_as_403(serve: Serve, open_http: Open) -> None:
    reset = int(datetime.now(UTC).timestamp()) + 20
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset)}
    server = await serve(then_rows(web.Response(status=403, headers=headers)))
    one = open_http(f"{server.url}/orders")
    assert await one.records() == ROWS
    assert 15 <= one.waited[0] <= 20


async def test_nobody_listening_may_pass(open_http: Open, unused_tcp_port: int) -> None:
    one = open_http(f"http://127.0.0.1:{unused_tcp_port}/orders", max_tries=3)
    with pytest.raises(RetryableConnectorError, match="127.0.0.1") as caught:
        await one.pages()
    assert len(one.waited) == 2
    assert caught.value.retry_after is None


async def test_a_server_that_says_nothing_may_pass(serve: Serve, open_http: Open) -> None:
    gone = asyncio.Event()

    async def answer(_: web.Request) -> web.StreamResponse:
        await gone.wait()
        return web.json_response(ROWS)

    server = await serve(answer)
    one = open_http(f"{server.url}/orders", read_within=0.05, max_tries=2)
    with pytest.raises(RetryableConnectorError, match="no reply in time"):
        await one.pages()
    gone.set()


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_name_the_variables(
    serve: Serve, open_http: Open, status: int
) -> None:
    server = await serve(always(status=status, text="who are you, sesame?"))
    one = open_http(
        f"{server.url}/orders", headers={"Authorization": "Bearer $TOKEN"}, env={"TOKEN": "sesame"}
    )
    with pytest.raises(AuthenticationRefused, match=r"who are you, \$TOKEN\?. Check \$TOKEN"):
        await one.pages()
    assert len(server.requests) == 1

    with pytest.raises(AuthenticationRefused, match="No credentials were sent"):
        await open_http(f"{server.url}/orders").pages()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"status": 404, "text": "no such thing"}, "404 Not Found: no such thing"),
        ({"status": 422, "text": "x" * 5000}, "x" * 200 + "$"),
        ({"status": 304}, "304 Not Modified"),
        ({"text": "<!doctype html><p>Log in", "content_type": "text/html"}, "HTML, not JSON"),
        ({"text": "<x/>", "content_type": "application/xml"}, "HTML, not JSON"),
        ({"text": "hello"}, "not JSON .text/plain"),
        ({"text": ""}, "the reply is empty"),
        ({"text": "[1, 2]"}, "record 0 of the list is a number"),
        ({"text": "7"}, "a number, not a list of records"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_cannot_pass_is_fatal_at_once(
    serve: Serve, open_http: Open, options: dict[str, Any], said: str
) -> None:
    server = await serve(always(**options))
    with pytest.raises(FatalConnectorError, match=said) as caught:
        await open_http(f"{server.url}/orders").pages()
    assert str(caught.value).startswith(f"{server.url}/orders")
    assert len(server.requests) == 1


async def test_no_content_is_an_empty_table(serve: Serve, open_http: Open) -> None:
    server = await serve(always(status=204))
    [page] = await open_http(f"{server.url}/orders").pages()
    assert page.last


async def test_a_byte_order_mark_is_no_part_of_a_reply(serve: Serve, open_http: Open) -> None:
    body = b'\xef\xbb\xbf[{"id": 1}]'
    server = await serve(always(body=body, content_type="application/json"))
    [page] = await open_http(f"{server.url}/orders").pages()
    assert page.records == ROWS


@pytest.mark.parametrize("packed", [False, True])
async def test_a_reply_has_a_limit_and_unpacking_does_not_help(
    serve: Serve, open_http: Open, packed: bool
) -> None:
    body = b'[{"a": "' + b"x" * 100_000 + b'"}]'
    headers = {"Content-Encoding": "gzip"} if packed else {}
    server = await serve(always(body=gzip.compress(body) if packed else body, headers=headers))
    with pytest.raises(FatalConnectorError, match="larger than 50,000 bytes.*--page-size"):
        await open_http(f"{server.url}/orders", max_reply_bytes=50_000).pages()

    assert len(await open_http(f"{server.url}/orders", max_reply_bytes=200_000).records()) == 1


async def test_one_connection_serves_all_pages(serve: Serve, open_http: Open) -> None:
    ports = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername")[1])
        page = int(request.query.get("page", 1))
        return web.json_response({"page": page, "pages": 9, "data": [{"id": page}]})

    server = await serve(answer)
    one = open_http(f"{server.url}/orders")
    assert len(await one.pages()) == 9
    assert len(ports) == 1


async def test_a_closed_connector_says_so(open_http: Open) -> None:
    one = open_http("http://127.0.0.1:1/orders")
    await one.connector.aclose()
    await one.connector.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await one.pages()
