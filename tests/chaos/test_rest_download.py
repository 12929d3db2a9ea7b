"""A table with a parent and an incremental one, downloaded by a file and killed at any moment."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from milepost import JobState, open_database, snapshots
from milepost.connectors.http.children import REQUESTS_IN_A_PAGE
from tests.chaos.client import client
from tests.chaos.downloading import KILLS, Downloading
from tests.chaos.records import Served

SIZE = 10
# So many that a page of parents takes several commits of what belongs to them.
PARENTS = 40
SOURCE = """
url: {url}
read_ahead: {ahead}
tables:
  orders: {{path: orders, key: [id]}}
  lines: {{parent: orders, path: "orders/{{id}}/lines", key: [orders_id, number]}}
  events: {{path: events, key: [id], incremental: {{field: changed, param: since}}}}
"""

Rows = list[dict[str, Any]]


class Shop(Served):
    """Orders with their lines, and events; it grows, and counts how often each page is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.orders: Rows = [{"id": number, "name": f"Nº {number}"} for number in range(60)]
        self.events: Rows = [{"id": number, "changed": number} for number in range(200)]

    def lines(self, order: int) -> Rows:
        return [
            {"number": n, "text": f"{order}/{n}"}
            for n in range(25 if order == 7 else 1 + order % 3)
        ]

    def grow(self) -> None:
        """Add an order and some events, and change an event."""
        self.asked.clear()
        number = len(self.orders)
        self.orders.append({"id": number, "name": f"Nº {number}"})
        newest = max(event["changed"] for event in self.events)
        self.events += [
            {"id": len(self.events) + n, "changed": newest + 1 + n} for n in range(3 * SIZE)
        ]
        self.events[number] = {"id": number, "changed": newest + 1 + 3 * SIZE}

    def wanted(self) -> dict[str, Rows]:
        return {
            "orders": self.orders,
            "lines": [
                {**line, "orders_id": order["id"]}
                for order in self.orders
                for line in self.lines(order["id"])
            ],
            "events": self.events,
        }

    async def answer(self, request: web.Request) -> web.Response:
        self.asked[request.path_qs] += 1
        size = SIZE
        match request.path[1:].split("/"):
            case ["orders"]:
                rows, size = self.orders, PARENTS
            case ["orders", order, "lines"]:
                rows = self.lines(int(order))
            case _:
                since = int(request.query.get("since", 0))
                rows = sorted(
                    (event for event in self.events if event["changed"] >= since),
                    key=lambda event: int(event["changed"]),
                )
        start = int(request.query.get("cursor", 0))
        following = str(start + size) if start + size < len(rows) else None
        return web.json_response(
            {"data": rows[start : start + size], "next_cursor": following, "total": len(rows)}
        )


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.stop()


class Again:
    """How many pages of each list were asked for more often than the download has to."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, asked: Counter[str]) -> None:
        for page, times in asked.items():
            name = "lines" if "/lines" in page else page[1:].partition("?")[0]
            # The orders are read as a table, and once more as the parents of their lines.
            self.counts[name] += max(0, times - (2 if name == "orders" else 1))


def check(shop: Shop, into: Path) -> None:
    database = open_database(str(into))
    with database.read() as conn:
        found = {name: snapshots.read_rows(conn, name, bookkeeping=True) for name in shop.wanted()}
    database.close()
    for name, rows in shop.wanted().items():
        assert [row for row in found[name] if row["_milepost_deleted_at"]] == []
        fields = rows[0].keys()
        stored = [{field: row[field] for field in fields} for row in found[name]]
        assert sorted(stored, key=repr) == sorted(rows, key=repr), name


def reached(shop: Shop, enough: int) -> bool:
    return shop.asked.total() >= enough


@pytest.mark.parametrize("ahead", [0, 8])
def test_a_download_by_a_file_killed_at_random_moments_holds_every_row(
    shop: Shop, ahead: int, tmp_path: Path
) -> None:
    source, into = tmp_path / "shop.yaml", tmp_path / "snapshot.db"
    source.write_text(SOURCE.format(url=shop.start(), ahead=ahead))
    at_once = () if ahead else ("--commit-within", "0")
    download = Downloading(tmp_path, f"rest:{source}", "--into", str(into), *at_once)
    chance = download.chance
    again, passes, whole = Again(), 0, False
    with client(download.store_url) as store:
        while download.kills < KILLS or not whole:
            more = chance.randint(1, 50) if download.kills < KILLS else 10**9
            reached_ = partial(reached, shop, shop.asked.total() + more)
            download.kill("enough pages", reached_, within=0.03, may_end=True)
            # It may have been killed when all was done.
            whole = store.view(passes + 1).state is JobState.COMPLETED
            if whole:
                check(shop, into)
                again.add(shop.asked)
                shop.grow()
                passes += 1
    kills = download.kills
    print(f"asked again after {kills} kills in {passes} passes: {dict(again.counts)}")
    if ahead:
        # What is fetched ahead, and what is committed together, is asked for again.
        return
    assert again.counts["events"] <= kills
    assert again.counts["lines"] <= kills * REQUESTS_IN_A_PAGE
    # With the lines, the page of parents where they were.
    assert again.counts["orders"] <= kills * 2
