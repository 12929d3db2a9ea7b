"""What a tap says becomes pages from which it goes on, tables, a bookmark and a log."""

import json
from pathlib import Path
from typing import Any

import pytest

from milepost.connectors import Table
from milepost.connectors.programs.messages import RecordSaid, StateSaid
from milepost.connectors.programs.paging import Pager
from milepost.connectors.states import says_nothing
from tests.connectors.singer.conftest import Tap, ids


def place(pages: list[Any]) -> list[Any]:
    return [page.cursor["state"]["bookmarks"]["orders"]["id"] for page in pages]


async def test_a_page_ends_where_the_tap_says_that_it_can_begin_again(tap: Tap) -> None:
    tap.config["state_every"] = 2
    pages = await tap.pages()
    assert [len(page.records) for page in pages] == [6, 6, 6, 5, 0]
    assert place(pages) == [6, 12, 18, 23, 23]
    assert [page.last for page in pages] == [False] * 4 + [True]
    for done, page in enumerate(pages[:-1], 1):
        assert ids(await tap.pages(after=json.loads(json.dumps(page.cursor)))) == ids(pages[done:])


async def test_without_a_state_in_time_a_page_names_the_one_before_it(tap: Tap) -> None:
    tap.config |= {"streams": {"orders": {"count": 100}}, "state_every": 45}
    pages = await tap.pages()
    # 20 are the most that a page of 5 takes.
    assert [len(page.records) for page in pages] == [20, 20, 5, 20, 20, 5, 10, 0]
    assert [page.cursor["state"] and page.cursor["state"]["bookmarks"]["orders"]["id"]
            for page in pages] == [None, None, 45, 45, 45, 90, 100, 100]  # fmt: skip
    for done, page in enumerate(pages[:-1], 1):
        rest = await tap.pages(after=page.cursor)
        assert {*ids(pages[:done]), *ids(rest)} == set(range(1, 101))


async def test_what_is_left_when_the_state_comes_first_is_not_covered_by_it() -> None:
    pager = Pager({"a"}, 2, None, cursor=str)
    said: list[RecordSaid | StateSaid] = [
        StateSaid(1),
        RecordSaid("a", {}),
        RecordSaid("a", {}),
        RecordSaid("b", {}),
        StateSaid(2),
    ]
    assert [pager.take(each, 1) for each in said] == [False, False, False, False, True]
    moved = [pager.has_moved, pager.page().cursor == "2", pager.has_moved]
    assert moved == [True, True, False]
    assert pager.dropped == 1
    # By size too, and with the state that was there before.
    assert pager.take(RecordSaid("a", {}), 100_000_000)
    assert pager.page().cursor == "2"


async def test_the_next_pass_begins_at_the_last_state(tap: Tap) -> None:
    *_, last = await tap.pages()
    assert last.bookmark["state"] == {"bookmarks": {"orders": {"id": 23}}}
    [nothing_new] = await tap.pages(after=last.bookmark)
    assert (list(nothing_new.records), nothing_new.bookmark) == ([], last.bookmark)
    tap.config["streams"]["orders"]["count"] = 25
    assert ids(await tap.pages(after=last.bookmark)) == [24, 25]


async def test_a_stream_that_is_read_in_whole_each_time_leaves_no_bookmark(tap: Tap) -> None:
    tap.config["streams"] = {
        "old": {"count": 3, "method": "FULL_TABLE", "old": True},
        "new": {"count": 3, "method": "FULL_TABLE", "version": 7},
    }
    for stream in tap.config["streams"]:
        [page] = await tap.pages(stream)
        assert (len(page.records), page.bookmark) == (3, None)


@pytest.mark.parametrize(
    ("state", "nothing"),
    [
        (None, True), ({}, True), ({"bookmarks": {"a": {}}, "currently_syncing": "a"}, True),
        ({"bookmarks": {"a": {"partitions": []}}}, True), ({"bookmarks": {"a": {"at": 0}}}, False),
        ({"bookmarks": {"a": {"done": False}}}, False), (0, False), ("", False),
    ],
)  # fmt: skip
def test_only_a_state_without_any_place_says_nothing(state: Any, nothing: bool) -> None:
    assert says_nothing(state, beside=["currently_syncing"]) is nothing


async def test_a_tap_without_records_or_states_has_one_last_page(tap: Tap) -> None:
    tap.config |= {"streams": {"orders": {"count": 0}}, "state_every": 10**9}
    [page] = await tap.pages()
    assert (list(page.records), page.last, page.bookmark) == ([], True, None)


async def test_tables_have_keys_and_columns_from_the_catalog(tap: Tap) -> None:
    tap.config["streams"] = {
        "orders": {"count": 1, "keys": ["id", "name"]}, "old": {"count": 1, "old": True}
    }  # fmt: skip
    columns: Any = {"id": "integer", "name": "text", "nested": "json", "at": "timestamp"}
    assert await tap.open().tables() == [
        Table("orders", ("id", "name"), columns), Table("old", ("id",), columns)
    ]  # fmt: skip


async def test_each_stream_has_a_run_and_a_state_of_its_own_with_all_its_fields(tap: Tap) -> None:
    tap.config["streams"] = {"orders": {"count": 23}, "old": {"count": 2, "old": True}}
    connector = tap.open()
    for table in await connector.tables():
        pages = [page async for page in connector.pages(table.name, after=None)]
        assert set(pages[0].records[0]) == {"id", "name", "nested"}
        assert set(pages[-1].cursor["state"]["bookmarks"]) == {table.name}
    assert len(tap.runs()) == 3


async def test_streams_that_the_catalog_selects_are_the_tables_and_its_choice_of_fields_stays(
    tap: Tap, tmp_path: Path
) -> None:
    tap.config["streams"] = {"orders": {"count": 1, "selected": True}, "users": {"count": 1}}
    assert [table.name for table in await tap.open().tables()] == ["orders"]
    assert [table.name for table in await tap.open(tables=["users"]).tables()] == ["users"]
    properties = {"id": {"type": "integer"}, "name": {"type": "string"}, "nested": {}}
    marks = {(): {"selected": True}, ("id",): {}, ("name",): {"selected": False}, ("nested",): {}}
    metadata = [
        {"breadcrumb": [*(["properties"] if at else []), *at], "metadata": each}
        for at, each in marks.items()
    ]
    entry = {"stream": "orders", "schema": {"properties": properties}, "metadata": metadata}
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps({"streams": [entry]}))
    [page] = await tap.pages(catalog=str(catalog))
    assert set(page.records[0]) == {"id", "nested"}
    assert all("--discover" not in run["arguments"] for run in tap.runs()[2:])


async def test_parents_are_read_too_where_the_catalog_or_the_source_says_so(tap: Tap) -> None:
    tap.config["streams"] = {
        "orders": {"count": 3}, "lines": {"count": 2, "parent": "orders"},
        "notes": {"count": 1, "parent": "lines"}, "old": {"count": 1, "parent": "orders", "old": True},
    }  # fmt: skip
    assert ids(await tap.pages("lines")) == [1, 2]
    assert ids(await tap.pages("notes")) == [1]
    assert tap.log[-1] == "5 records of other streams than notes were left out"
    assert ids(await tap.pages("old", select_with={"old": ["orders"]})) == [1]


async def test_a_tap_without_a_catalog_has_the_tables_that_are_named(tap: Tap) -> None:
    tap.config["streams"]["users"] = {"count": 2}
    options: dict[str, Any] = {"discover": False, "tables": ["users"]}
    assert await tap.open(**options).tables() == [Table("users")]
    assert ids(await tap.pages("users", **options)) == [1, 2]
    assert [run["arguments"][0::2] for run in tap.runs()] == [["--config"]]


async def test_a_very_old_tap_takes_its_catalog_as_properties(tap: Tap) -> None:
    await tap.pages(catalog_argument="--properties")
    assert "--properties" in tap.runs()[-1]["arguments"]


async def test_a_version_that_replaces_all_is_told_where_the_pass_cannot_mark_what_is_gone(
    tap: Tap,
) -> None:
    tap.config["streams"]["orders"] |= {"method": "FULL_TABLE", "version": 7}
    await tap.pages()
    assert not [line for line in tap.log if "version" in line]
    await tap.pages(after={"singer": 1, "state": {"bookmarks": {"orders": {"id": 1}}}})
    assert "(version 7)" in tap.log[-1]
