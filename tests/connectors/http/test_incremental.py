"""Tables of which an API gives what has changed since the last pass."""

from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web

from milepost.errors import FatalConnectorError
from tests.connectors.conftest import Open, Serve

ROWS: list[dict[str, Any]] = [
    {"id": n, "updated_at": f"2024-05-0{n}T10:00:00Z"} for n in range(1, 8)
]


async def api(request: web.Request) -> web.StreamResponse:
    rows = [row for row in ROWS if row["updated_at"] >= request.query.get("since", "")]
    start = int(request.query.get("cursor", 0))
    more = start + 3 < len(rows)
    return web.json_response(
        {"data": rows[start : start + 3], "next_cursor": str(start + 3) if more else None}
    )


def incremental(**options: Any) -> dict[str, Any]:
    return {
        "orders": {
            "path": "orders",
            "incremental": {"field": "updated_at", "param": "since", **options},
        }
    }


async def test_a_later_pass_begins_where_the_last_one_ended(serve: Serve, open_http: Open) -> None:
    server = await serve(api)
    one = open_http(server.url, tables_of=incremental())
    pages = await one.pages()
    assert [record for page in pages for record in page.records] == ROWS
    assert [page.bookmark for page in pages[:-1]] == [None, None]
    assert await one.records(after=pages[-1].bookmark) == ROWS[-1:]
    assert server.requests[-1].query["since"] == "2024-05-07T10:00:00Z"


async def test_a_pass_that_stops_goes_on_with_what_it_asked_for(
    serve: Serve, open_http: Open
) -> None:
    one = open_http((await serve(api)).url, tables_of=incremental())
    bookmark = {"since": "2024-05-02T10:00:00Z"}
    pages = await one.pages(after=bookmark)
    assert [record for page in pages for record in page.records] == ROWS[1:]
    for done in range(1, len(pages)):
        before = [record for page in pages[:done] for record in page.records]
        rest = await one.pages(after=pages[done - 1].cursor)
        assert [*before, *(record for page in rest for record in page.records)] == ROWS[1:]
        assert rest[-1].bookmark == pages[-1].bookmark


async def test_a_pass_that_finds_nothing_keeps_its_place(serve: Serve, open_http: Open) -> None:
    one = open_http((await serve(api)).url, tables_of=incremental())
    bookmark = {"since": "2025-01-01T00:00:00Z", "newest": "2025-01-01T00:00:00Z"}
    [page] = await one.pages(after=bookmark)
    assert (list(page.records), page.bookmark["since"]) == ([], "2025-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("options", "value", "sent"),
    [
        ({"look_back": "1h"}, "2024-05-07T10:00:00Z", "2024-05-07T09:00:00Z"),
        ({"look_back": "1h"}, "2024-05-07T10:00:00.500+02:00", "2024-05-07T09:00:00.500+02:00"),
        ({"look_back": "1h"}, "2024-05-07T10:00:00", "2024-05-07T09:00:00"),
        ({"look_back": 86400}, "2024-05-07", "2024-05-06"),
        ({"look_back": 5}, 1700000000, "1699999995"),
        ({"look_back": 5}, 1700000000000, "1699999995000"),
        ({"form": "milliseconds", "look_back": 1}, 1700000000000, "1699999999000"),
        ({"form": "seconds"}, 1700000000000, "1700000000"),
        ({"look_back": "1h"}, "2024-05-07 10:00:00", "2024-05-07 09:00:00"),
        ({"form": "seconds"}, "2024-05-07T10:00:00Z", "1715076000"),
        ({"form": "milliseconds", "look_back": 1}, "2024-05-07T10:00:00Z", "1715075999000"),
        ({}, 17, "17"),
    ],
)
async def test_the_place_is_sent_as_the_api_spells_it(
    serve: Serve, open_http: Open, options: dict[str, Any], value: Any, sent: str
) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response([])

    server = await serve(answer)
    one = open_http(server.url, tables_of=incremental(**options))
    await one.pages(after={"since": value, "newest": value})
    assert server.requests[0].query["since"] == sent


async def test_a_record_without_the_field_is_refused_by_its_fields(
    serve: Serve, open_http: Open
) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response([{"id": 1, "changed": "2024"}])

    one = open_http((await serve(answer)).url, tables_of=incremental())
    with pytest.raises(FatalConnectorError, match=r"no 'updated_at' .* it has id, changed"):
        await one.pages()


async def test_the_newest_is_found_whatever_the_order(serve: Serve, open_http: Open) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        times = ["2024-05-02T00:00:00Z", "2024-05-01T23:30:00-02:00", "2024-04-01T00:00:00Z"]
        return web.json_response([{"id": n, "updated_at": at} for n, at in enumerate(times)])

    one = open_http((await serve(answer)).url, tables_of=incremental())
    [page] = await one.pages()
    assert page.bookmark["since"] == "2024-05-01T23:30:00-02:00"


@pytest.mark.parametrize("value", ["17", "Tue, 07 May 2024", "1712120100000"])
async def test_a_look_back_from_what_is_no_moment_is_refused(open_http: Open, value: str) -> None:
    one = open_http("http://127.0.0.1:1", tables_of=incremental(look_back="1h"))
    with pytest.raises(FatalConnectorError, match="no moment for look_back or form"):
        await one.pages(after={"since": value, "newest": value})


async def test_a_record_without_a_value_is_read_and_moves_nothing(
    serve: Serve, open_http: Open
) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response([*ROWS, {"id": 9, "updated_at": None}])

    one = open_http((await serve(answer)).url, tables_of=incremental())
    [page] = await one.pages()
    assert len(page.records) == 8
    assert page.bookmark["since"] == ROWS[-1]["updated_at"]


class Moving:
    """A source by cursor whose first record changes while the others are still to be read."""

    def __init__(self) -> None:
        self.rows = [dict(row) for row in ROWS]
        self.day = "Mon, 06 May 2024 00:00:00 GMT"
        self.by_page = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        rows = [row for row in self.rows if row["updated_at"] >= request.query.get("since", "")]
        headers = {"Date": self.day}
        if self.by_page:
            rows.sort(key=lambda row: row["updated_at"])
            page = int(request.query.get("page", 1))
            body: Any = {"data": rows[(page - 1) * 3 : page * 3], "page": page, "total": len(rows)}
        else:
            start = int(request.query.get("cursor", 0))
            following = str(start + 3) if start + 3 < len(rows) else None
            body = {"data": rows[start : start + 3], "next_cursor": following}
        return web.json_response(body, headers=headers)


@pytest.mark.parametrize("by_page", [False, True])
async def test_what_changes_during_a_pass_is_met_by_a_later_one(
    serve: Serve, open_http: Open, by_page: bool
) -> None:
    source = Moving()
    source.by_page = by_page
    server = await serve(source.answer)
    one = open_http(server.url, tables_of=incremental(), read_ahead=0)
    found: dict[int, Any] = {}
    bookmark = None
    for number in range(3):
        async with aclosing(one.connector.pages("orders", after=bookmark)) as pages:
            async for page in pages:
                found |= {record["id"]: record for record in page.records}
                bookmark = page.bookmark
                if number == 0 and len(found) == 3:
                    # The first one, which was read, and one that was not.
                    source.rows[0]["updated_at"] = "2024-05-06T01:00:00Z"
                    source.rows[4]["updated_at"] = "2024-05-08T00:00:00Z"
        source.day = f"Tue, {8 + number:02} May 2024 12:00:00 GMT"
    assert sorted(found.values(), key=lambda row: row["id"]) == source.rows


async def test_in_the_body_of_a_post_the_place_is_sent_too(serve: Serve, open_http: Open) -> None:
    bodies: list[Any] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.json())
        return web.json_response(ROWS)

    server = await serve(answer)
    table = incremental()["orders"] | {"method": "POST", "body": {"filter": {"owner": "ada"}}}
    table["incremental"] = {"field": "updated_at", "param": "filter.since"}
    one = open_http(server.url, tables_of={"orders": table})
    await one.pages(after={"since": "2024-05-03T10:00:00Z"})
    assert bodies == [{"filter": {"owner": "ada", "since": "2024-05-03T10:00:00Z"}}]
    assert server.asked == ["/orders"]
