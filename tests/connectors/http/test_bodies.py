"""APIs that are asked by POST, and cursors that stand in a header."""

from typing import Any

import pytest
from aiohttp import web

from milepost.errors import FatalConnectorError
from tests.connectors.conftest import Open, Serve, assert_resumes

ROWS = [{"id": n} for n in range(7)]


async def test_page_size_and_cursor_go_into_the_body_of_a_post(
    serve: Serve, open_http: Open
) -> None:
    bodies: list[Any] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.json())
        start = int(bodies[-1]["page"].get("after", 0))
        following = str(start + 3) if start + 3 < len(ROWS) else None
        return web.json_response(
            {"results": ROWS[start : start + 3], "paging": {"next": {"after": following}}}
        )

    one = open_http(
        (await serve(answer)).url, method="POST", page_size=3, page_size_param="page.limit",
        cursor_param="page.after", cursor_path="paging.next.after",
        tables_of={"orders": {"path": "search", "body": {"filter": {"owner": "$ME"}}}},
        env={"ME": "ada"},
    )  # fmt: skip
    pages = await assert_resumes(one)
    assert [record for page in pages for record in page.records] == ROWS
    assert bodies[:2] == [
        {"filter": {"owner": "ada"}, "page": {"limit": 3}},
        {"filter": {"owner": "ada"}, "page": {"limit": 3, "after": "3"}},
    ]


async def test_a_post_may_page_by_its_query(serve: Serve, open_http: Open) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert await request.json() == {"all": True}
        page = int(request.query["page"])
        return web.json_response(ROWS[(page - 1) * 3 : page * 3])

    one = open_http(
        f"{(await serve(answer)).url}/orders", method="POST", body={"all": True},
        pagination="page", paging_in="query",
    )  # fmt: skip
    assert await one.records() == ROWS


async def test_a_cursor_is_read_from_a_header(serve: Serve, open_http: Open) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        start = int(request.query.get("token", 0))
        headers = {"X-Next": str(start + 3)} if start + 3 < len(ROWS) else {}
        return web.json_response(ROWS[start : start + 3], headers=headers)

    one = open_http(
        f"{(await serve(answer)).url}/orders", cursor_header="X-Next", cursor_param="token"
    )
    pages = await assert_resumes(one)
    assert [record for page in pages for record in page.records] == ROWS


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_post_does_not_follow_a_redirect_that_would_make_it_a_get(
    serve: Serve, open_http: Open, status: int
) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    one = open_http(f"{(await serve(answer)).url}/orders", method="POST")
    with pytest.raises(FatalConnectorError, match="redirects a POST to .*/elsewhere"):
        await one.pages()


async def test_a_secret_in_a_body_is_refused(open_http: Open) -> None:
    with pytest.raises(FatalConnectorError, match="password holds a secret in plain text"):
        open_http("http://h/orders", method="POST", body={"login": {"password": "hunter2"}})
