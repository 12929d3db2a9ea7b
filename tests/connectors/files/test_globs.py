"""Patterns: one table or many, in the order of names, new files only, files that move meanwhile."""

import os
from pathlib import Path
from typing import Any

import pytest

from milepost.connectors import Page
from milepost.errors import FatalConnectorError
from tests.connectors.files.reading import assert_resumes, opened, pages, records, stored
from tests.connectors.files.writing import written


def put(path: Path, *ids: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"id": number, "text": path.stem} for number in ids]
    path.write_bytes(written(rows, path.name.partition(".")[2]))


def ids(read: list[Page]) -> list[int]:
    return [record["id"] for page in read for record in page.records]


async def test_files_are_one_table_in_the_order_of_their_names(tmp_path: Path) -> None:
    put(tmp_path / "data" / "b.csv.gz", 3, 4, 5)
    put(tmp_path / "data" / "a.csv", 1, 2)
    put(tmp_path / "data" / "c.parquet", 6, 7)
    put(tmp_path / "data" / "sub" / "d.jsonl", 8)
    (tmp_path / "data" / "e.csv").mkdir()
    [table] = await opened(tmp_path / "data" / "*").tables()
    assert table.name == "data"
    for size in (1, 2, 3, 100):
        read = await assert_resumes(tmp_path / "data" / "**" / "*.*", page_size=size)
        assert [each["id"] for each in read] == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_each_file_may_be_a_table(tmp_path: Path) -> None:
    put(tmp_path / "x.csv", 1)
    put(tmp_path / "sub" / "x.csv", 2)
    connector = opened(tmp_path / "**" / "*.csv", table_per_file=True)
    assert [table.name for table in await connector.tables()] == ["sub_x", "x"]
    assert [page.records[0]["id"] async for page in connector.pages("sub_x", after=None)] == [2]


async def test_two_files_of_one_name_are_no_two_tables(tmp_path: Path) -> None:
    put(tmp_path / "x.csv", 1)
    put(tmp_path / "x.jsonl", 2)
    with pytest.raises(FatalConnectorError, match="would be one table"):
        await opened(tmp_path / "x.*", table_per_file=True).tables()


async def test_a_pattern_without_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FatalConnectorError, match="no file matches this pattern"):
        await pages(tmp_path / "*.csv")
    with pytest.raises(FatalConnectorError, match="no file matches this pattern"):
        await pages("memory://nothing/*.csv")


async def test_only_new_and_changed_files_are_read_when_asked(tmp_path: Path) -> None:
    async def run(after: Any, size: int = 1) -> tuple[list[int], Any]:
        read = await pages(tmp_path / "*.csv", after, only_new=True, page_size=size)
        assert [page.bookmark is not None for page in read] == [page.last for page in read]
        return ids(read), read[-1].bookmark

    put(tmp_path / "b.csv", 1, 2)
    put(tmp_path / "d.csv", 3)
    seen, bookmark = await run(None)
    assert seen == [1, 2, 3]
    assert (await run(bookmark))[0] == []

    put(tmp_path / "a.csv", 4)
    put(tmp_path / "c.csv", 5)
    put(tmp_path / "d.csv", 3, 6)
    seen, bookmark = await run(bookmark)
    assert seen == [4, 5, 3, 6]
    (tmp_path / "c.csv").unlink()
    seen, bookmark = await run(bookmark)
    assert seen == []
    assert len(bookmark["known"]) == 3


async def test_only_new_resumes_in_the_middle_and_forgets_nothing(tmp_path: Path) -> None:
    put(tmp_path / "b.csv", 1, 2)
    [*_, last] = await pages(tmp_path / "*.csv", only_new=True)
    put(tmp_path / "c.csv", 3, 4)
    put(tmp_path / "d.csv", 5)
    [first, *_] = await pages(tmp_path / "*.csv", last.bookmark, only_new=True, page_size=1)
    assert ids([first]) == [3]
    # Comes before what is read now, so it is for the run after.
    put(tmp_path / "a.csv", 6)
    read = await pages(tmp_path / "*.csv", stored(first), only_new=True, page_size=1)
    assert ids(read) == [4, 5]
    again = await pages(tmp_path / "*.csv", read[-1].bookmark, only_new=True)
    assert ids(again) == [6]


@pytest.mark.parametrize("change", ["new", "changed", "gone"])
async def test_files_that_move_behind_a_stopped_pass_let_no_row_go(
    change: str, tmp_path: Path
) -> None:
    for name, number in (("b", 1), ("c", 2), ("d", 3)):
        put(tmp_path / f"{name}.csv", number)
    [_, second, *_] = await pages(tmp_path / "*.csv", page_size=1)
    assert not second.counted
    if change == "new":
        put(tmp_path / "a.csv", 4)
    elif change == "changed":
        put(tmp_path / "b.csv", 5, 6)
    else:
        (tmp_path / "b.csv").unlink()
    connector = opened(tmp_path / "*.csv")
    [table] = await connector.tables()
    rest = [page async for page in connector.pages(table.name, after=stored(second))]
    assert ids(rest) == [3]
    assert all(page.counted for page in rest)


async def test_a_new_file_ahead_is_read_as_if_it_had_been_there(tmp_path: Path) -> None:
    put(tmp_path / "b.csv", 1)
    put(tmp_path / "d.csv", 3)
    [first, *_] = await pages(tmp_path / "*.csv", page_size=1)
    put(tmp_path / "c.csv", 2)
    rest = await pages(tmp_path / "*.csv", stored(first))
    assert ids(rest) == [2, 3]
    assert not rest[-1].counted


async def test_a_file_that_is_gone_in_the_middle_is_named(tmp_path: Path) -> None:
    put(tmp_path / "b.csv", 1, 2, 3)
    put(tmp_path / "c.csv", 4)
    [first, *_] = await pages(tmp_path / "*.csv", page_size=2)
    (tmp_path / "b.csv").unlink()
    with pytest.raises(FatalConnectorError, match="b.csv is gone, and was read in part"):
        await pages(tmp_path / "*.csv", stored(first))


async def test_a_copy_goes_on_and_parquet_that_was_touched_does_not(tmp_path: Path) -> None:
    for name, goes_on in (("x.csv", True), ("x.parquet", False)):
        put(tmp_path / name, *range(20))
        [first, *_] = await pages(tmp_path / name, page_size=3)
        os.utime(tmp_path / name, (1, 1))
        if goes_on:
            assert len(await records(tmp_path / name, stored(first))) == 17
        else:
            with pytest.raises(FatalConnectorError, match="has changed"):
                await pages(tmp_path / name, stored(first))
