from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from milepost.errors import FatalConnectorError
from tests.connectors.conftest import Open, Serve, assert_resumes

ROWS = [{"id": f"r{number}", "n": number} for number in range(7)]
SIZE = 3

Paged = Callable[[web.Request], Any]


def window(start: int) -> list[dict[str, Any]]:
    return ROWS[start : start + SIZE]


def start_of(request: web.Request, name: str, default: int = 0) -> int:
    return int(request.query.get(name, default))


def link(request: web.Request) -> Any:
    start = start_of(request, "from")
    headers = {"X-Total-Count": "7"}
    if start + SIZE < len(ROWS):
        headers["Link"] = (
            f'<{request.url.with_query({"from": "0"})}>; rel="first", '
            f'</orders?from={start + SIZE}>; title="a, b"; rel="Next last"'
        )
    return web.json_response(window(start), headers=headers)


def next_url(request: web.Request) -> Any:
    start = start_of(request, "from")
    more = start + SIZE < len(ROWS)
    following = str(request.url.with_query({"from": start + SIZE, "$top": "3"}))
    return {"count": 7, "next": following if more else None, "results": window(start)}


def hal(request: web.Request) -> Any:
    start = start_of(request, "from")
    links = {"self": {"href": "/orders"}}
    if start + SIZE < len(ROWS):
        links["next"] = {"href": f"?from={start + SIZE}"}
    return {"_embedded": {"orders": window(start)}, "_links": links}


def odata(request: web.Request) -> Any:
    start = start_of(request, "$skiptoken")
    body: dict[str, Any] = {"@odata.count": 7, "value": window(start)}
    if start + SIZE < len(ROWS):
        body["@odata.nextLink"] = str(request.url.with_query({"$skiptoken": start + SIZE}))
    return body


def cursor(request: web.Request) -> Any:
    start = start_of(request, "cursor")
    more = start + SIZE < len(ROWS)
    # The cursor stands there even at the end: `has_more` decides.
    meta = {"next_cursor": str(start + SIZE), "has_more": more, "total_count": "7"}
    return {"items": window(start), "meta": meta}


def google(request: web.Request) -> Any:
    start = start_of(request, "pageToken")
    if start + SIZE < len(ROWS):
        return {"orders": window(start), "nextPageToken": f"{start + SIZE}"}
    return {"orders": window(start)}


def facebook(request: web.Request) -> Any:
    start = start_of(request, "after")
    rows = window(start)
    return {"data": rows, "paging": {"cursors": {"after": str(start + SIZE)} if rows else {}}}


def slack(request: web.Request) -> Any:
    start = start_of(request, "cursor")
    more = start + SIZE < len(ROWS)
    told = {"next_cursor": str(start + SIZE) if more else ""}
    return {"ok": True, "members": window(start), "response_metadata": told}


def stripe(request: web.Request) -> Any:
    after = request.query.get("starting_after")
    start = 0 if after is None else [row["id"] for row in ROWS].index(after) + 1
    more = start + SIZE < len(ROWS)
    return {"object": "list", "url": "/orders", "data": window(start), "has_more": more}


def numbered(request: web.Request) -> Any:
    page = start_of(request, "page", 1)
    return {"page": page, "total_pages": 3, "data": window((page - 1) * SIZE)}


def spring(request: web.Request) -> Any:
    page = start_of(request, "page")
    return {
        "content": window(page * SIZE),
        "number": page,
        "totalElements": 7,
        "totalPages": 3,
        "last": page == 2,
    }


def wordpress(request: web.Request) -> Any:
    page = start_of(request, "page", 1)
    headers = {"X-WP-Total": "7", "X-WP-TotalPages": "3"}
    return web.json_response(window((page - 1) * SIZE), headers=headers)


def offset(request: web.Request) -> Any:
    start = start_of(request, "offset")
    return {"offset": start, "limit": SIZE, "total": 7, "rows": window(start)}


def jira(request: web.Request) -> Any:
    start = start_of(request, "startAt")
    return {"startAt": start, "maxResults": SIZE, "total": 7, "issues": window(start)}


def postgrest(request: web.Request) -> Any:
    start = start_of(request, "offset")
    headers = {"Content-Range": f"{start}-{start + len(window(start)) - 1}/*"}
    return web.json_response(window(start), headers=headers, status=206)


def bare_pages(request: web.Request) -> Any:
    return window((start_of(request, "p", 1) - 1) * SIZE)


def bare_pages_from_0(request: web.Request) -> Any:
    return window(start_of(request, "page") * SIZE)


def bare_offset(request: web.Request) -> Any:
    return window(start_of(request, "skip"))


def odd_cursor(request: web.Request) -> Any:
    start = start_of(request, "position")
    more = start + SIZE < len(ROWS)
    return {"rows": window(start), "where": {"to go on": start + SIZE if more else None}}


def everything(request: web.Request) -> Any:
    return ROWS


async def given(serve: Serve, paged: Paged) -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        reply = paged(request)
        return reply if isinstance(reply, web.StreamResponse) else web.json_response(reply)

    return await serve(answer)


DETECTED: list[tuple[Paged, str, int | None]] = [
    (link, "link", 7),
    (next_url, "next-url", 7),
    (hal, "next-url", None),
    (odata, "next-url", 7),
    (cursor, "cursor", 7),
    (google, "cursor", None),
    (facebook, "cursor", None),
    (slack, "cursor", None),
    (stripe, "cursor", None),
    (numbered, "page", None),
    (spring, "page", 7),
    (wordpress, "page", 7),
    (offset, "offset", 7),
    (jira, "offset", 7),
    (postgrest, "offset", None),
]


# By the URLs or cursors that they give.
COUNTED = (link, next_url, hal)


def spelled(value: object) -> str:
    """Name a case the same in every process: the address of a function is another in each."""
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(("paged", "kind", "total"), DETECTED, ids=spelled)
async def test_each_kind_is_detected_and_resumes_after_every_page(
    serve: Serve, open_http: Open, paged: Paged, kind: str, total: int | None
) -> None:
    server = await given(serve, paged)
    pages = await assert_resumes(open_http(f"{server.url}/orders"))

    assert [record for page in pages for record in page.records] == ROWS
    assert pages[0].cursor["kind"] == kind
    assert {page.counted for page in pages} == {kind in ("page", "offset") or paged in COUNTED}
    assert pages[0].total == total
    assert pages[-1].cursor["kind"] == "end"


@pytest.mark.parametrize(
    ("paged", "options"),
    [
        (link, {"pagination": "link"}),
        (next_url, {"pagination": "next-url"}),
        (next_url, {"pagination": "next-url", "cursor_path": "next"}),
        (cursor, {"pagination": "cursor"}),
        (odd_cursor, {"cursor_path": "where.to go on", "cursor_param": "position"}),
        (bare_pages, {"pagination": "page", "page_param": "p"}),
        (bare_pages, {"page_param": "p"}),
        (bare_pages_from_0, {"pagination": "page", "first_page": 0}),
        (bare_offset, {"pagination": "offset", "offset_param": "skip"}),
        (numbered, {"pagination": "page"}),
        (offset, {"pagination": "offset"}),
        (everything, {"pagination": "none"}),
        (everything, {}),
    ],
    ids=spelled,
)
async def test_each_kind_may_be_set(
    serve: Serve, open_http: Open, paged: Paged, options: dict[str, Any]
) -> None:
    server = await given(serve, paged)
    pages = await assert_resumes(open_http(f"{server.url}/orders", **options))

    assert [record for page in pages for record in page.records] == ROWS


async def test_a_short_page_is_not_the_end(serve: Serve, open_http: Open) -> None:
    def filtered(request: web.Request) -> Any:
        return [row for row in window((start_of(request, "page", 1) - 1) * SIZE) if row["n"] != 1]

    server = await given(serve, filtered)
    one = open_http(f"{server.url}/orders", pagination="page", page_size=3)

    assert [record["n"] for record in await one.records()] == [0, 2, 3, 4, 5, 6]
    assert server.asked[0] == "/orders?per_page=3&page=1"
    assert server.asked[-1].endswith("page=4")


async def test_an_empty_page_with_a_cursor_is_not_the_end(serve: Serve, open_http: Open) -> None:
    answers = {
        None: {"data": [{"id": 1}], "next_cursor": "a"},
        "a": {"data": [], "next_cursor": "b"},
        "b": {"data": [{"id": 2}], "next_cursor": None},
    }
    server = await given(serve, lambda request: answers[request.query.get("cursor")])
    pages = await assert_resumes(open_http(f"{server.url}/orders"))

    assert [len(page.records) for page in pages] == [1, 0, 1]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"data": []},
        {"orders": [], "total": 0},
        {"things": [], "next": None},
        {"data": None, "next_cursor": None},
        {"response": {"orders": []}},
    ],
    ids=spelled,
)
async def test_an_empty_table_is_one_empty_last_page(
    serve: Serve, open_http: Open, body: Any
) -> None:
    server = await given(serve, lambda _: body)
    options = {"records_path": "data"} if isinstance(body, dict) and "data" in body else {}
    [page] = await open_http(f"{server.url}/orders", **options).pages()

    assert (list(page.records), page.last) == ([], True)


@pytest.mark.parametrize("last", [{}, {"nextPageToken": None}, []], ids=str)
async def test_a_last_page_may_leave_the_list_out(serve: Serve, open_http: Open, last: Any) -> None:
    def answer(request: web.Request) -> Any:
        return last if "pageToken" in request.query else {"rows": ROWS, "nextPageToken": "x"}

    server = await given(serve, answer)
    assert await open_http(f"{server.url}/orders").records() == ROWS


@pytest.mark.parametrize(
    "body",
    [
        {"next": "/orders?again=1", "data": [{"id": 1}]},
        {"next_cursor": "same", "data": [{"id": 1}]},
        {"has_more": True, "data": [{"id": 1}]},
    ],
    ids=spelled,
)
async def test_a_circle_is_an_error(serve: Serve, open_http: Open, body: Any) -> None:
    server = await given(serve, lambda _: body)
    with pytest.raises(FatalConnectorError, match="circle"):
        await open_http(f"{server.url}/orders").pages()
    assert len(server.asked) == 2


async def test_a_wide_circle_is_an_error(serve: Serve, open_http: Open) -> None:
    def answer(request: web.Request) -> Any:
        here = start_of(request, "cursor")
        return {"data": [{"id": here}], "next_cursor": str(here + 1 if here < 40 else 30)}

    server = await given(serve, answer)
    with pytest.raises(FatalConnectorError, match="circle: cursor="):
        await open_http(f"{server.url}/orders").pages()
    assert len(server.asked) < 130


@pytest.mark.parametrize("kind", ["page", "offset"])
async def test_a_server_that_ignores_the_parameter_is_an_error(
    serve: Serve, open_http: Open, kind: str
) -> None:
    server = await given(serve, everything)
    one = open_http(f"{server.url}/orders", pagination=kind)
    with pytest.raises(FatalConnectorError, match=f"ignore '{kind}'.*--{kind}-param"):
        await one.pages()

    first = await anext(one.connector.pages("orders", after=None))
    with pytest.raises(FatalConnectorError, match="ignore"):
        await one.pages(after=first.cursor)


async def test_a_last_page_that_is_given_again_past_the_end_is_the_end(
    serve: Serve, open_http: Open
) -> None:
    def clamped(request: web.Request) -> Any:
        return window((min(start_of(request, "page", 1), 3) - 1) * SIZE)

    server = await given(serve, clamped)
    one = open_http(f"{server.url}/orders", pagination="page")
    assert await one.records() == ROWS


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        ({"total": 20, "data": [{"id": 1}]}, {}, "1 of 20 records"),
        ([{"id": 1}], {"X-Total-Count": "20"}, "1 of 20 records"),
        ({"count": 20, "data": [{"id": 1}]}, {}, "1 of 20 records"),
        ({"has_more": True, "data": [{"name": "no id"}]}, {}, "more pages follow"),
        ([{"id": 1}, {"id": 2}], {}, "exactly the 2 records"),
    ],
    ids=spelled,
)
async def test_a_table_is_not_cut_short_in_silence(
    serve: Serve, open_http: Open, body: Any, headers: dict[str, str], said: str
) -> None:
    server = await given(serve, lambda _: web.json_response(body, headers=headers))
    with pytest.raises(FatalConnectorError, match=f"{said}.*pass --pagination"):
        await open_http(f"{server.url}/orders", page_size=2).pages()

    everything_there_is = open_http(f"{server.url}/orders", page_size=2, pagination="none")
    assert len(await everything_there_is.pages()) == 1


async def test_a_next_page_at_another_origin_is_refused(serve: Serve, open_http: Open) -> None:
    other = await given(serve, everything)
    body = {"data": ROWS, "next": f"{other.url}/orders?page=2"}
    server = await given(serve, lambda _: body)
    one = open_http(
        f"{server.url}/orders", headers={"Authorization": "Bearer $T"}, env={"T": "sesame"}
    )
    with pytest.raises(FatalConnectorError, match="at another origin .*--pagination"):
        await one.pages()
    assert other.requests == []


@pytest.mark.parametrize("path", ["//evil.test/orders", "@evil.test/", ".evil.test/", ":1/"])
async def test_a_forged_cursor_leads_nowhere_else(serve: Serve, open_http: Open, path: str) -> None:
    server = await given(serve, everything)
    one = open_http(f"{server.url}/orders")
    cursor = {"kind": "next-url", "url": path, "path": []}
    if path.startswith("//"):
        assert await one.records(after=cursor) == ROWS
        assert [request.raw_path for request in server.requests] == [path]
    else:
        with pytest.raises(FatalConnectorError):
            await one.records(after=cursor)
        assert server.asked == []


@pytest.mark.parametrize("cursor", [{"kind": "moon"}, 7, "x", {"offset": 1}, [1]], ids=str)
async def test_a_foreign_cursor_is_an_error(open_http: Open, cursor: Any) -> None:
    with pytest.raises(FatalConnectorError, match="no cursor of an HTTP source"):
        await open_http("http://127.0.0.1:1/orders").pages(after=cursor)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (link, "orders: records are the whole reply; its Link header leads on"),
        (next_url, "orders: records are at results; each page names the next one's URL"),
        (cursor, "by cursor"),
    ],
)
async def test_what_was_detected_is_told_once(
    serve: Serve, open_http: Open, answer: Paged, said: str
) -> None:
    async def reply(request: web.Request) -> web.StreamResponse:
        found = answer(request)
        return found if isinstance(found, web.StreamResponse) else web.json_response(found)

    one = open_http(f"{(await serve(reply)).url}/orders")
    await one.pages()
    await one.pages()
    [told] = one.found
    assert said in told
    assert told in (await one.connector.test()).notes
