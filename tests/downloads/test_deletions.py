"""A record that is gone from the source is marked deleted, but only after a complete pass."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from milepost import JobState
from milepost.connectors import Access, Connector, Cursor, Page
from milepost.connectors.http.connector import HttpConnector
from milepost.downloads import sources
from tests.downloads.conftest import SIZE, Downloads


@pytest.fixture(autouse=True)
def by_cursor(downloads: Downloads) -> None:
    downloads.shop.by_cursor = True


async def test_what_is_gone_is_marked_and_what_comes_back_is_not(downloads: Downloads) -> None:
    await downloads.run()
    downloads.shop.ids.remove(7)
    run = await downloads.run()

    assert downloads.marked() == [7]
    assert (run.result.tables["items"].deleted, run.result.tables["items"].kept) == (1, None)

    downloads.shop.ids.append(7)
    await downloads.run()
    assert downloads.marked() == []


@pytest.mark.parametrize("mode", [None, "replace"])
async def test_a_pass_that_read_less_than_the_total_deletes_nothing(
    downloads: Downloads, mode: Any
) -> None:
    await downloads.run(mode=mode)
    downloads.shop.wrong = {3: {"data": [{"id": 10, "n": 10}]}}
    run = await downloads.run(mode=mode)

    assert (len(downloads.rows()), downloads.marked()) == (30, [])
    told = run.result.tables["items"]
    assert (told.records, told.deleted) == (30 - SIZE + 1, 0)
    assert told.kept is not None
    assert told.kept.startswith("the source told of 30 records and gave 26")
    assert f"items: {told.kept}" in [line.message for line in run.log]


async def test_a_total_that_changes_counts_as_it_was_told_last(downloads: Downloads) -> None:
    await downloads.run()
    downloads.shop.ids = downloads.shop.ids[:28]
    downloads.shop.wrong = {1: {"total": 30}}
    await downloads.run()

    assert downloads.marked() == [28, 29]


EMPTY = {1: {"data": [], "total": 0, "next_cursor": None}}
BARE: dict[int, Any] = {1: []}
HALF = {3: {"total": 15, "next_cursor": None}}


@pytest.mark.parametrize("mode", [None, "replace"])
@pytest.mark.parametrize("wrong", [EMPTY, BARE, HALF], ids=["empty", "bare", "half"])
async def test_a_source_that_lost_most_of_a_table_is_not_believed_unasked(
    downloads: Downloads, wrong: dict[int, Any], mode: Any
) -> None:
    await downloads.run(mode=mode)
    downloads.shop.wrong = wrong
    run = await downloads.run(mode=mode)

    read = run.result.tables["items"].records
    assert (len(downloads.rows()), downloads.marked()) == (30, [])
    kept = run.result.tables["items"].kept or ""
    assert kept.startswith(f"{30 - read} of 30 rows seem to be gone at the source")
    assert "--allow-mass-deletion" in kept

    run = await downloads.run(mode=mode, allow_mass_deletion=True)
    assert run.result.tables["items"].kept is None
    left = [id_ for id_, marked in downloads.rows().items() if not marked]
    assert left == list(range(read))


async def test_the_last_row_of_a_table_is_not_taken_unasked_either(downloads: Downloads) -> None:
    downloads.shop.ids = [1]
    await downloads.run()
    downloads.shop.wrong = EMPTY
    run = await downloads.run()

    assert run.result.tables["items"].kept is not None
    assert downloads.marked() == []


async def test_few_rows_may_become_fewer(downloads: Downloads) -> None:
    downloads.shop.ids = [1, 2, 3]
    await downloads.run()
    downloads.shop.ids = [2]
    await downloads.run()

    assert downloads.marked() == [1, 3]


async def test_append_takes_nothing_away_and_doubts_nothing(downloads: Downloads) -> None:
    await downloads.run(mode="append")
    downloads.shop.wrong = {1: {"total": 99}, **{page: {"total": 99} for page in range(2, 7)}}
    run = await downloads.run(mode="append")

    assert run.state is JobState.COMPLETED
    assert run.result.tables["items"].kept is None


class LosesTheRest(HttpConnector):
    """A connector with a bug: its pages just end."""

    async def pages(self, table: str, *, after: Cursor) -> AsyncGenerator[Page]:
        async with aclosing(super().pages(table, after=after)) as pages:
            yield await anext(pages)


async def test_pages_that_end_without_a_last_one_are_no_complete_pass(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    await downloads.run()

    def open_broken(source: Any, access: Access) -> Connector:
        return LosesTheRest(source, access)

    monkeypatch.setattr(sources, "open_connector", open_broken)
    downloads.shop.ids = downloads.shop.ids[:28]
    run = await downloads.run(allow_mass_deletion=True)

    assert run.view.error is not None
    assert "table 'items': the source's pages end without a last one" in run.view.error
    assert (run.state, downloads.marked()) == (JobState.SCHEDULED, [])
