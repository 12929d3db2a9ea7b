"""A source that lies: no row is taken for gone, none is wrong, and every walk ends."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from milepost import JobState, open_database, snapshots
from milepost.connectors import check_source
from milepost.connectors.http import loops
from milepost.snapshots import TableSpec
from milepost.testing import JobRun
from tests.connectors.conftest import Server
from tests.downloads.conftest import Downloads, Shop
from tests.downloads.liar import (
    LISTS,
    ROWS,
    Liar,
    Lie,
    Reply,
    at,
    backwards,
    cut,
    dropped,
    first_again,
    html,
    leads_back,
    never_ends_empty,
    never_ends_round,
    never_ends_same,
    page_before,
    sent_elsewhere,
    short,
    window,
)

LIED_ABOUT = {"items": "/items", "lines": "/shops/2/lines", "new": "/new"}
TABLES = {
    "items": {"path": "items"},
    "shops": {"path": "shops"},
    "lines": {"path": "shops/{id}/lines", "parent": "shops"},
    "new": {"path": "new", "incremental": {"field": "n", "param": "since"}},
}
# Each with how its pages follow each other, and how many are asked for ahead.
WORLDS = [
    ("items", "link", 1),
    *[
        (table, *way)
        for table in ("lines", "new")
        for way in (("cursor", 0), ("link", 1), ("page", 8))
    ],
]
LINKED = [world for world in WORLDS if world[1] == "link"]
LED = [world for world in WORLDS if world[1] != "page"]


class World:
    """An honest download that was, and the source that lies from now on."""

    def __init__(self, liar: Liar, downloads: Downloads, table: str) -> None:
        self.liar = liar
        self.table = table
        self._downloads = downloads

    def fill(self) -> None:
        """Leave what an honest download leaves."""
        table, now = TableSpec(self.table, ("id",)), datetime.now(UTC)
        database = open_database(str(self._downloads.into))
        with database.begin() as conn:
            number = snapshots.begin_pass(conn, table)
            snapshots.write_page(conn, table, self.wanted(), pass_number=number, synced_at=now)
            snapshots.finish_pass(conn, table, number, at=now)
        database.close()

    async def lied(self, lie: Lie, about: str = "", *, max_tries: int = 1) -> JobRun[Any]:
        """Download once more, with a lie."""
        self._downloads.source = replace(self._downloads.source, max_tries=max_tries)
        self.liar.about, self.liar.lie = about or LIED_ABOUT[self.table], lie
        # All of the incremental table too: only then might anything be taken for gone.
        return await self._downloads.run(tables=(self.table,), anew=True)

    def rows(self) -> list[dict[str, Any]]:
        database = open_database(str(self._downloads.into))
        with database.read() as conn:
            rows = snapshots.read_rows(conn, self.table, bookkeeping=True)
        database.close()
        assert [row for row in rows if row["_milepost_deleted_at"]] == []
        kept = [{name: row[name] for name in ("id", "n", "name")} for row in rows]
        return sorted(kept, key=lambda row: int(row["id"]))

    def wanted(self) -> list[dict[str, Any]]:
        """The rows that there are, whatever the source says."""
        if self.table != "lines":
            return ROWS
        return [*ROWS, *LISTS["/shops/1/lines"], *LISTS["/shops/3/lines"]]


@pytest.fixture(params=WORLDS, ids=str)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    table, way, ahead = request.param
    liar = Liar(way)

    async def login(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<p>Who are you?", content_type="text/html")

    server, elsewhere = Server(liar.answer), Server(login)
    await server.start()
    await elsewhere.start()
    liar.elsewhere = f"{elsewhere.url}/login"
    downloads = Downloads(Shop(), server.url, tmp_path / "snapshot.db")
    downloads.source = check_source(
        {
            "kind": "http", "url": server.url, "tables": TABLES, "read_ahead": ahead,
            "pagination": way,
        }
    )  # fmt: skip
    world = World(liar, downloads, table)
    world.fill()
    yield world
    await server.aclose()
    await elsewhere.aclose()


@pytest.mark.parametrize("lie", [cut, dropped], ids=["cut", "dropped"])
async def test_a_reply_that_stops_in_the_middle_once_costs_nothing(world: World, lie: Lie) -> None:
    run = await world.lied(at(3, lie, times=1), max_tries=2)

    assert (run.state, world.rows()) == (JobState.COMPLETED, world.wanted())


@pytest.mark.parametrize(
    ("lie", "state", "said"),
    [
        (cut, JobState.SCHEDULED, "the reply stops in the middle"),
        (dropped, JobState.SCHEDULED, "the reply stops in the middle"),
        (html, JobState.FAILED, "the reply is HTML, not JSON"),
        (sent_elsewhere, JobState.FAILED, r"redirected to http.*/login.*the reply is HTML"),
        (page_before, JobState.SCHEDULED, "page before again|holds no new records"),
    ],
    ids=["cut", "dropped", "html", "elsewhere", "repeated"],
)
async def test_a_page_that_is_none_stops_the_download_and_says_why(
    world: World, lie: Lie, state: JobState, said: str
) -> None:
    run = await world.lied(at(3, lie))

    assert run.state is state
    assert run.view.error is not None
    assert re.search(said, run.view.error), run.view.error
    assert world.rows() == world.wanted()
    assert world.liar.asked <= 30


@pytest.mark.parametrize("lie", [short, first_again], ids=["short", "an earlier one again"])
async def test_less_than_was_told_takes_nothing_away(world: World, lie: Lie) -> None:
    run = await world.lied(at(4, lie))

    assert run.state is JobState.COMPLETED
    assert world.rows() == world.wanted()
    assert run.result.tables[world.table].kept is not None


@pytest.mark.parametrize("world", [w for w in LED if w[0] == "lines"], indirect=True, ids=str)
async def test_what_belongs_to_parents_that_did_not_come_is_kept(world: World) -> None:
    def fewer(_: Liar, reply: Reply) -> Reply:
        return replace(reply, records=reply.records[::2])

    run = await world.lied(fewer, about="/shops")

    assert (run.state, world.rows()) == (JobState.COMPLETED, world.wanted())
    assert any("told of 3 records of 'shops' and gave 2" in line.message for line in run.log)


async def test_records_in_another_order_are_the_same_records(world: World) -> None:
    run = await world.lied(backwards)

    assert (run.state, world.rows()) == (JobState.COMPLETED, world.wanted())
    assert run.result.tables[world.table].kept is None


@pytest.mark.parametrize(
    ("name", "stored"),
    [(7, "7"), (True, "true"), ({"first": "Ada"}, {"first": "Ada"}), (None, None)],
    ids=str,
)
@pytest.mark.parametrize("world", LINKED, indirect=True, ids=str)
async def test_a_field_of_another_type_in_the_middle_changes_no_other_row(
    world: World, name: Any, stored: Any
) -> None:
    def changed(_: Liar, reply: Reply) -> Reply:
        return replace(reply, records=[{**row, "name": name} for row in reply.records])

    run = await world.lied(at(3, changed))

    assert run.state is JobState.COMPLETED
    wanted = [{**row, "name": stored} if row in window(3) else row for row in world.wanted()]
    assert world.rows() == wanted


@pytest.mark.parametrize("world", LINKED, indirect=True, ids=str)
async def test_a_key_that_becomes_a_text_is_the_same_key(world: World) -> None:
    def changed(_: Liar, reply: Reply) -> Reply:
        return replace(reply, records=[{**row, "id": str(row["id"])} for row in reply.records])

    run = await world.lied(at(3, changed))

    assert run.state is JobState.COMPLETED
    assert world.rows() == [{**row, "id": str(row["id"])} for row in world.wanted()]


@pytest.mark.parametrize("world", [("new", "link", 1)], indirect=True, ids=str)
@pytest.mark.parametrize("mark", ["zzz", "9", {}], ids=str)
async def test_a_field_that_no_longer_tells_what_is_new_leaves_no_bookmark(
    world: World, mark: Any
) -> None:
    def changed(_: Liar, reply: Reply) -> Reply:
        return replace(reply, records=[{**row, "n": mark} for row in reply.records])

    run = await world.lied(at(3, changed))

    assert run.state is JobState.FAILED
    assert run.view.error is not None
    assert "mend incremental.field" in run.view.error
    assert world.rows() == world.wanted()


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (at(4, leads_back), "the server leads in a circle"),
        (never_ends_empty, "20 pages in a row hold no records"),
        (never_ends_same, "page before again"),
        (never_ends_round, "comes again and again"),
    ],
    ids=["circle", "empty", "same", "round"],
)
@pytest.mark.parametrize("world", LED, indirect=True, ids=str)
async def test_a_walk_that_would_never_end_is_ended(
    world: World, lie: Lie, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "EMPTY_IN_A_ROW", 20)
    run = await world.lied(lie)

    assert run.view.error is not None
    assert said in run.view.error
    assert world.rows() == world.wanted()
    assert world.liar.asked <= 80
