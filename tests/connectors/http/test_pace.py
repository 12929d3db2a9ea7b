"""How fast a source is asked: its budget, what its replies say, and how it refuses."""

from collections import defaultdict
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from milepost.connectors import Access, Secrets, open_connector, source_from
from milepost.connectors.budgets import Budgets, OwnBudgets
from milepost.errors import RetryableConnectorError
from tests.connectors.conftest import Answer, Serve

ROWS = [{"id": n} for n in range(30)]


class Turns:
    """Budgets that only write down what they are asked for, by the clock of the test."""

    def __init__(self) -> None:
        self.reserved: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
        self.held: list[float] = []

    async def reserve(self, key: str, *, every: float, burst: int) -> float:
        self.reserved[key].append((round(every, 3), burst))
        return 0.0

    async def hold(self, key: str, seconds: float) -> None:
        self.held.append(seconds)


async def no_sleep(_: float) -> None: ...


async def read(
    url: str,
    turns: Budgets,
    values: dict[str, str] | None = None,
    *,
    pages: int = 99,
    **options: Any,
) -> None:
    source = source_from(f"{url}/orders", read_ahead=0, **options)
    access = Access(secrets=Secrets(values or {}), budgets=turns, sleep=no_sleep)
    connector = open_connector(source, access)
    try:
        async with aclosing(connector.pages("orders", after=None)) as found:
            async for _ in found:
                pages -= 1
                if not pages:
                    break
    finally:
        await connector.aclose()


def paged(headers: dict[str, str] | None = None, *, refuse: int = 0) -> Answer:
    refused = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal refused
        if refused < refuse:
            refused += 1
            return web.Response(status=429, headers={"Retry-After": "3"})
        page = int(request.query.get("page", 1))
        body = {"data": ROWS[page - 1 : page], "page": page, "total": len(ROWS)}
        return web.json_response(body, headers=headers)

    return answer


async def test_each_request_of_a_budget_takes_a_turn(serve: Serve) -> None:
    server, turns = await serve(paged()), Turns()
    budget = {"requests": 20, "per": "1m", "burst": 5}
    await read(server.url, turns, budget=budget)
    [taken] = turns.reserved.values()
    assert taken == [(3.0, 5)] * len(server.asked)


async def test_the_budget_is_that_of_the_credentials_at_the_origin(serve: Serve) -> None:
    one, other, turns = await serve(paged()), await serve(paged()), Turns()
    for url, token in ((one.url, "a"), (one.url, "b"), (other.url, "a"), (one.url, "a")):
        auth = {"type": "bearer", "token": "$TOKEN"}
        await read(url, turns, {"TOKEN": token * 9}, pages=1, auth=auth, budget={"requests": 9})
    assert [len(taken) for taken in turns.reserved.values()] == [2, 1, 1]
    assert not any("aaa" in key or "bbb" in key for key in turns.reserved)


async def test_other_credentials_in_headers_have_another_budget(serve: Serve) -> None:
    server, turns = await serve(paged()), Turns()
    for token in ("aaaaaaaaa", "bbbbbbbbb", "aaaaaaaaa"):
        await read(
            server.url, turns, {"TOKEN": token}, pages=1, budget={"requests": 9},
            headers={"Authorization": "Bearer $TOKEN"},
        )  # fmt: skip
    assert [len(taken) for taken in turns.reserved.values()] == [2, 1]


async def test_a_turn_that_is_too_far_off_puts_the_job_off(serve: Serve) -> None:
    server = await serve(paged())
    budget = {"requests": 1, "per": "1h"}
    with pytest.raises(RetryableConnectorError, match="has its turn in 3[56]") as put_off:
        await read(server.url, OwnBudgets(), budget=budget, max_tries=1)
    assert put_off.value.retry_after is not None
    assert put_off.value.retry_after > timedelta(minutes=59)


async def test_without_a_budget_nobody_is_asked_for_turns(serve: Serve) -> None:
    turns = Turns()
    await read((await serve(paged())).url, turns)
    assert not turns.reserved


async def test_who_is_told_that_it_is_too_fast_slows_down_and_later_tries_faster_again(
    serve: Serve,
) -> None:
    server, turns = await serve(paged(refuse=2)), Turns()
    await read(server.url, turns)
    [taken] = turns.reserved.values()
    gaps = [every for every, _ in taken]
    assert gaps[:2] == [0.1, 0.2]
    assert gaps[-1] == pytest.approx(0.16)
    assert turns.held == [3.0, 3.0]


@pytest.mark.parametrize(
    ("headers", "held"),
    [
        ({"RateLimit": '"default";r=0;t=7'}, [7.0]),
        ({"RateLimit": '"default";r=3;t=7'}, []),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "9"}, [9.0]),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "999"}, [60.0]),
        ({"X-RateLimit-Remaining": "12", "X-RateLimit-Reset": "9"}, []),
    ],
    ids=str,
)
async def test_when_a_reply_says_that_nothing_is_left_nobody_asks_before_there_is(
    serve: Serve, headers: dict[str, str], held: list[float]
) -> None:
    turns = Turns()
    await read((await serve(paged(headers))).url, turns, pages=1)
    assert turns.held == held
