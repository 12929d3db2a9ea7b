"""A walk that a hiccup of the server would cut short is not taken for a whole one."""

from typing import Any

import pytest
from aiohttp import web

from milepost.errors import RetryableConnectorError
from tests.connectors.conftest import Answer, Open, Serve

ROWS = [{"id": number} for number in range(12)]
SIZE = 3
TOLD = {"total": 12, "total_pages": 4, "has_more": True}


def paged(page: int, **told: Any) -> dict[str, Any]:
    return {"data": ROWS[(page - 1) * SIZE : page * SIZE], "page": page, **told}


def with_facts(page: int, *facts: str) -> dict[str, Any]:
    """A page of a server that tells no more than these facts."""
    every = {**TOLD, "has_more": page < TOLD["total_pages"]}
    return paged(page, **{fact: every[fact] for fact in facts})


def hiccups(facts: tuple[str, ...], bad: Any, *, at: int = 3, times: int = 1) -> Answer:
    """Answer by pages, and so many times wrongly at one of them."""
    left = [times]

    async def answer(request: web.Request) -> web.StreamResponse:
        page = int(request.query.get("page", 1))
        reply = with_facts(page, *facts)
        if page == at and left[0]:
            left[0] -= 1
            if bad is None:
                return web.Response(status=204)
            reply = {**reply, **bad} if isinstance(bad, dict) else bad
        return web.json_response(reply)

    return answer


EMPTY: dict[str, Any] = {"data": []}
REPEATED = {"data": ROWS[SIZE : 2 * SIZE]}


@pytest.mark.parametrize("facts", [("total",), ("total_pages",), ("has_more",), (*TOLD,)], ids=str)
@pytest.mark.parametrize("bad", [EMPTY, REPEATED], ids=["empty", "repeated"])
async def test_a_page_without_news_is_asked_again_while_more_is_told(
    serve: Serve, open_http: Open, facts: tuple[str, ...], bad: Any
) -> None:
    one = open_http(f"{(await serve(hiccups(facts, bad))).url}/orders")

    assert await one.records() == ROWS
    assert len(one.waited) == 1


@pytest.mark.parametrize("bad", [[], None], ids=["list", "no content"])
async def test_what_earlier_pages_told_counts_where_a_reply_tells_nothing(
    serve: Serve, open_http: Open, bad: Any
) -> None:
    one = open_http(f"{(await serve(hiccups(('total',), bad))).url}/orders")

    assert await one.records() == ROWS
    assert len(one.waited) == 1


@pytest.mark.parametrize("facts", [("total",), ("total_pages",), ("has_more",)], ids=str)
async def test_an_empty_first_page_is_asked_again_while_more_is_told(
    serve: Serve, open_http: Open, facts: tuple[str, ...]
) -> None:
    one = open_http(f"{(await serve(hiccups(facts, EMPTY, at=1))).url}/orders")

    assert await one.records() == ROWS


async def test_a_walk_that_resumes_knows_how_many_came_before(
    serve: Serve, open_http: Open
) -> None:
    url = (await serve(hiccups(("total",), EMPTY))).url
    _, second, *_ = await open_http(f"{url}/orders").pages()
    url = (await serve(hiccups(("total",), EMPTY))).url
    one = open_http(f"{url}/orders")

    assert await one.records(after=second.cursor) == ROWS[2 * SIZE :]
    assert len(one.waited) == 1


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (EMPTY, "says that more follow, and holds no new records"),
        (REPEATED, "says that more follow, and holds no new records"),
        ({"data": [], "has_more": None}, "holds no new records, and is page 3 of 4"),
        (
            {"data": [], "has_more": None, "total_pages": None},
            "holds no new records, and only 6 of 12 have come",
        ),
    ],
    ids=str,
)
async def test_it_is_asked_again_only_so_often(
    serve: Serve, open_http: Open, bad: Any, said: str
) -> None:
    one = open_http(f"{(await serve(hiccups((*TOLD,), bad, times=99))).url}/orders", max_tries=3)
    with pytest.raises(RetryableConnectorError, match=rf"page=3: the reply {said} \(tries: 3\)"):
        await one.pages()


@pytest.mark.parametrize("facts", [("has_more",), ("total_pages",), (*TOLD,)], ids=str)
async def test_a_total_that_is_too_small_ends_nothing(
    serve: Serve, open_http: Open, facts: tuple[str, ...]
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        page = int(request.query.get("page", 1))
        return web.json_response({**with_facts(page, *facts), "total": 4})

    assert await open_http(f"{(await serve(answer)).url}/orders").records() == ROWS


@pytest.mark.parametrize(
    "bad",
    [
        {"rows": [], "next_cursor": None, "has_more": True},
        {"rows": [], "next_cursor": None, "total": 12},
        {"rows": [{"id": 3}], "next_cursor": None, "has_more": True},
        # The page before, once more.
        {"rows": ROWS[:3], "next_cursor": "6"},
        [],
    ],
    ids=str,
)
async def test_a_cursor_that_is_missing_too_early_is_asked_for_again(
    serve: Serve, open_http: Open, bad: Any
) -> None:
    left = [bad]

    async def answer(request: web.Request) -> web.StreamResponse:
        start = int(request.query.get("cursor", 0))
        if start == SIZE and left:
            return web.json_response(left.pop())
        following = str(start + SIZE) if start + SIZE < len(ROWS) else None
        rows = ROWS[start : start + SIZE]
        return web.json_response({"rows": rows, "next_cursor": following, "total": 12})

    one = open_http(f"{(await serve(answer)).url}/orders")

    assert await one.records() == ROWS
    assert len(one.waited) == 1


async def test_offsets_that_count_from_1_reach_the_last_record(
    serve: Serve, open_http: Open
) -> None:
    async def scim(request: web.Request) -> web.StreamResponse:
        start = int(request.query.get("startIndex", 1))
        rows = ROWS[start - 1 : start - 1 + SIZE]
        # One more than three pages hold: the last page has one record.
        rows = [row for row in rows if row["id"] < 10]
        return web.json_response({"startIndex": start, "totalResults": 10, "Resources": rows})

    one = open_http(f"{(await serve(scim)).url}/orders")

    assert await one.records() == ROWS[:10]
