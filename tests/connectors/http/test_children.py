"""Tables whose records belong to others: inside of them, or behind each of them."""

import json
from typing import Any

import pytest
from aiohttp import web

from milepost.connectors.http.source import HttpTable
from milepost.errors import FatalConnectorError
from tests.connectors.conftest import Open, Opened, Serve, Server

ORDERS: list[dict[str, Any]] = [
    {"id": n, "lines": [{"sku": f"{n}-{k}"} for k in range(n % 3)] or None} for n in range(1, 8)
]
NOTES = {n: [{"id": 100 * n + k} for k in range(n)] for n in range(1, 8)}
NOTE_KEYS = [{**note, "orders_id": order} for order, notes in NOTES.items() for note in notes]


async def api(request: web.Request) -> web.StreamResponse:
    start = int(request.query.get("cursor", 0))
    of_order = [] if request.path == "/orders" else NOTES.get(int(request.path.split("/")[2]), [])
    rows: list[Any] = ORDERS if request.path == "/orders" else of_order
    more = start + 3 < len(rows)
    return web.json_response(
        {"data": rows[start : start + 3], "next_cursor": str(start + 3) if more else None}
    )


def shop(server: Server, open_http: Open, **options: Any) -> Opened:
    tables = {
        "orders": "orders",
        "lines": HttpTable(parent="orders", inside="lines"),
        "notes": HttpTable(parent="orders", path="orders/{id}/notes", key=("orders_id", "id")),
    }
    return open_http(server.url, tables_of=tables, **options)


async def test_records_inside_of_others_are_a_table_with_their_parents_key(
    serve: Serve, open_http: Open
) -> None:
    one = shop(await serve(api), open_http)
    assert await one.records("lines") == [
        {**line, "orders_id": order["id"]} for order in ORDERS for line in order["lines"] or []
    ]


async def test_records_behind_others_are_asked_for_one_parent_after_the_other(
    serve: Serve, open_http: Open
) -> None:
    server = await serve(api)
    one = shop(server, open_http)
    assert await one.records("notes") == NOTE_KEYS
    [_, _, table] = await one.connector.tables()
    assert table.key == ("orders_id", "id")
    # Each list once, and the parents once.
    assert len(set(server.asked)) == len(server.asked)


@pytest.mark.parametrize("requests", [1, 2, 100])
async def test_a_walk_over_parents_goes_on_inside_of_one(
    serve: Serve, open_http: Open, monkeypatch: pytest.MonkeyPatch, requests: int
) -> None:
    monkeypatch.setattr("milepost.connectors.http.children.REQUESTS_IN_A_PAGE", requests)
    server = await serve(api)
    one = shop(server, open_http, read_ahead=0)
    pages = await one.pages("notes")
    for done in range(1, len(pages) + 1):
        before = [record for page in pages[:done] for record in page.records]
        server.requests.clear()
        assert [*before, *await one.records("notes", pages[done - 1].cursor)] == NOTE_KEYS
        # Of the parents, the page where it was; of the children nothing that it had.
        for [order] in pages[done - 1].cursor["read"]:
            assert not any(asked.startswith(f"/orders/{order}/notes") for asked in server.asked)


async def told(request: web.Request) -> web.StreamResponse:
    """A source that tells how many records each list holds, and gives one order too few."""
    reply = json.loads(str((await api(request)).text))  # type: ignore[attr-defined]
    rows = ORDERS if request.path == "/orders" else NOTES[int(request.path.split("/")[2])]
    if request.path == "/orders":
        reply["data"] = [row for row in reply["data"] if row["id"] != 5]
    return web.json_response({**reply, "total": len(rows)})


@pytest.mark.parametrize("table", ["lines", "notes"])
async def test_parents_that_did_not_come_are_missed_after_any_page(
    serve: Serve, open_http: Open, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setattr("milepost.connectors.http.children.REQUESTS_IN_A_PAGE", 1)
    one = shop(await serve(told), open_http)
    pages = await one.pages(table)
    for done in range(len(pages)):
        last = (await one.pages(table, pages[done - 1].cursor if done else None))[-1]
        [said] = last.skipped
        assert said.startswith("the source told of 7 records of 'orders' and gave 6")
        # The lists that were read are whole.
        assert last.total == (None if table == "lines" else len(NOTE_KEYS) - 5)


async def test_a_parent_that_is_gone_is_left_out_and_said(serve: Serve, open_http: Open) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/orders/3/notes":
            return web.Response(status=404, text="gone")
        return await api(request)

    one = shop(await serve(answer), open_http)
    pages = await one.pages("notes")
    found = [record for page in pages for record in page.records]
    assert found == [each for each in NOTE_KEYS if each["orders_id"] != 3]
    [why] = [why for page in pages for why in page.skipped]
    assert "/orders/3/notes: 404 Not Found: gone" in why


@pytest.mark.parametrize("gone", [(), (2,), (1, 3)])
async def test_parents_that_come_back_in_another_order_are_each_read_once(
    serve: Serve, open_http: Open, monkeypatch: pytest.MonkeyPatch, gone: tuple[int, ...]
) -> None:
    monkeypatch.setattr("milepost.connectors.http.children.REQUESTS_IN_A_PAGE", 1)
    shown = list(ORDERS)

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(shown) if request.path == "/orders" else await api(request)

    one = shop(await serve(answer), open_http)
    pages = await one.pages("notes")
    for done in range(1, len(pages)):
        shown[:] = [order for order in reversed(ORDERS) if order["id"] not in gone]
        before = [record for page in pages[:done] for record in page.records]
        rest = await one.records("notes", pages[done - 1].cursor)
        found = sorted(record["id"] for record in [*before, *rest])
        had = {record["id"] for record in before}
        wanted = [n["id"] for n in NOTE_KEYS if n["id"] in had or n["orders_id"] not in gone]
        assert found == sorted(wanted)


async def test_a_list_that_is_gone_in_the_middle_of_a_parent_is_said_too(
    serve: Serve, open_http: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milepost.connectors.http.children.REQUESTS_IN_A_PAGE", 1)

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/orders/7/notes" and "cursor" in request.query:
            return web.Response(status=404)
        return await api(request)

    one = shop(await serve(answer), open_http)
    pages = await one.pages("notes")
    [why] = [why for page in pages for why in page.skipped]
    assert "/orders/7/notes?cursor=3: 404" in why


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"parent": "nothing", "path": "x"}, "no table 'nothing' to be its parent"),
        ({"parent": "orders"}, "give either a path"),
        ({"parent": "orders", "path": "x", "inside": "y"}, "give either a path"),
        ({"inside": "y"}, "say which parent"),
        ({"parent": "deep", "path": "x"}, "must not have one itself"),
    ],
)
def test_a_parent_that_cannot_be_one_is_refused(
    open_http: Open, table: dict[str, Any], problem: str
) -> None:
    tables = {"orders": "orders", "deep": {"parent": "orders", "path": "x/{id}"}, "child": table}
    with pytest.raises(FatalConnectorError, match=problem):
        open_http("http://h", tables_of=tables)


async def test_a_field_that_the_parent_has_not_is_named(serve: Serve, open_http: Open) -> None:
    tables = {"orders": "orders", "notes": {"parent": "orders", "path": "orders/{number}/notes"}}
    one = open_http((await serve(api)).url, tables_of=tables)
    with pytest.raises(
        FatalConnectorError, match="'notes': a parent has no 'number' .* has id, lin"
    ):
        await one.pages("notes")
