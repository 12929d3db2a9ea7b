"""Pages that are asked for before their turn."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web

from tests.connectors.conftest import Answer, Open, Serve, assert_resumes

ROWS = [{"id": n} for n in range(50)]
SIZE = 5


def by_page(request: web.Request) -> Any:
    page = int(request.query.get("page", 1))
    return {"data": ROWS[(page - 1) * SIZE : page * SIZE], "page": page, "total": len(ROWS)}


def by_offset(request: web.Request) -> Any:
    offset = int(request.query.get("offset", 0))
    return {"data": ROWS[offset : offset + SIZE], "offset": offset, "total": len(ROWS)}


def by_cursor(request: web.Request) -> Any:
    start = int(request.query.get("cursor", 0))
    more = start + SIZE < len(ROWS)
    return {"data": ROWS[start : start + SIZE], "next_cursor": str(start + SIZE) if more else None}


class Gate:
    """Counts the requests that wait, and lets them all through when so many are there."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.waiting = self.most = 0
        self._open = asyncio.Event()

    async def pass_through(self) -> None:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        if self.waiting >= self.wanted:
            self._open.set()
        await asyncio.wait_for(self._open.wait(), 10)
        self.waiting -= 1


def gated(gate: Gate, paged: Any) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        # The first page is asked for alone, whatever follows.
        if request.query.keys() & {"page", "offset", "cursor"}:
            await gate.pass_through()
        return web.json_response(paged(request))

    return answer


@pytest.mark.parametrize("paged", [by_page, by_offset])
async def test_pages_whose_places_are_known_are_asked_for_side_by_side_and_come_in_order(
    serve: Serve, open_http: Open, paged: Any
) -> None:
    gate = Gate(4)
    server = await serve(gated(gate, paged))
    one = open_http(f"{server.url}/orders", read_ahead=4)
    assert await one.records() == ROWS
    assert gate.most == 4
    # None twice, and none past the end that the total tells.
    assert len(server.asked) == len(set(server.asked)) == len(ROWS) // SIZE


async def test_of_pages_that_lead_to_each_other_one_is_asked_for_ahead(
    serve: Serve, open_http: Open
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(by_cursor(request))

    server = await serve(answer)
    one = open_http(f"{server.url}/orders", read_ahead=4)
    async with aclosing(one.connector.pages("orders", after=None)) as pages:
        await anext(pages)
        while len(server.asked) < 2:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        assert len(server.asked) == 2
    assert await one.records() == ROWS


async def test_nothing_is_asked_for_ahead_where_that_is_not_wanted(
    serve: Serve, open_http: Open
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(by_page(request))

    server = await serve(answer)
    one = open_http(f"{server.url}/orders", read_ahead=0)
    async with aclosing(one.connector.pages("orders", after=None)) as pages:
        for number in range(1, 4):
            await anext(pages)
            await asyncio.sleep(0.01)
            assert len(server.asked) == number


async def test_what_is_read_ahead_may_fail_and_is_asked_for_again_in_its_turn(
    serve: Serve, open_http: Open
) -> None:
    failed: set[str] = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.query.get("page") in {"4", "5"} - failed:
            failed.add(request.query["page"])
            return web.Response(status=503)
        return web.json_response(by_page(request))

    one = open_http(f"{(await serve(answer)).url}/orders", read_ahead=3)
    assert await one.records() == ROWS
    assert failed == {"4", "5"}


async def test_reading_ahead_changes_nothing_for_who_resumes(serve: Serve, open_http: Open) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(by_offset(request))

    await assert_resumes(open_http(f"{(await serve(answer)).url}/orders", read_ahead=8))
