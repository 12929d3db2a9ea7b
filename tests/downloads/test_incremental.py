"""Downloads of what is new since the last one."""

from typing import Any

from milepost import open_database, snapshots
from milepost.connectors import check_source
from milepost.jobs.states import JobState
from tests.downloads.conftest import Downloads


def only_new(downloads: Downloads, **options: Any) -> Any:
    # Where pages are counted, each pass begins where the one before began.
    downloads.shop.by_cursor = True
    tables = {"items": {"path": "items", "incremental": {"field": "n", "param": "since"}}}
    source = {"kind": "http", "url": downloads.url, "tables": tables}
    return check_source({**source, "max_tries": 1, "read_ahead": 0, **options})


async def test_the_second_time_only_what_is_new_is_asked_for_and_nothing_is_taken_for_gone(
    downloads: Downloads,
) -> None:
    downloads.source = only_new(downloads)
    first = await downloads.run()
    assert (first.result.tables["items"].records, first.result.tables["items"].partial) == (
        30,
        False,
    )

    downloads.shop.ids = [30, 31]
    run = await downloads.run()
    assert run.state is JobState.COMPLETED
    assert downloads.shop.queries[-1]["since"] == "29"
    assert (run.result.tables["items"].records, run.result.tables["items"].partial) == (2, True)
    assert sorted(downloads.rows()) == list(range(32))
    assert downloads.marked() == []

    await downloads.run()
    assert downloads.shop.queries[-1]["since"] == "31"


async def test_all_is_read_anew_where_that_is_asked_for(downloads: Downloads) -> None:
    downloads.source = only_new(downloads)
    await downloads.run()
    run = await downloads.run(anew=True)
    assert run.result.tables["items"].records == 30
    assert "since" not in downloads.shop.queries[-1]


async def test_replace_reads_all_each_time(downloads: Downloads) -> None:
    downloads.source = only_new(downloads)
    await downloads.run(mode="replace")
    run = await downloads.run(mode="replace")
    assert run.result.tables["items"].records == 30


async def test_a_bookmark_is_that_of_its_source_and_of_rows_that_are_there(
    downloads: Downloads,
) -> None:
    downloads.source = only_new(downloads)
    await downloads.run()
    downloads.source = only_new(downloads, params={"shop": "another"})
    await downloads.run()
    assert "since" not in downloads.shop.queries[-1]

    database = open_database(str(downloads.into))
    with database.begin() as conn:
        conn.exec_driver_sql("DELETE FROM items")
    database.close()
    run = await downloads.run()
    assert run.result.tables["items"].records == 30


async def test_a_bookmark_is_committed_with_the_end_of_its_pass(downloads: Downloads) -> None:
    downloads.source = only_new(downloads)
    downloads.shop.wrong[4] = 7
    run = await downloads.run()
    assert run.state is JobState.FAILED
    database = open_database(str(downloads.into))
    with database.read() as conn:
        tables = snapshots.list_tables(conn)
        marks = conn.exec_driver_sql(
            "SELECT count(*) FROM sqlite_master WHERE name = 'milepost_bookmarks'"
        ).scalar()
    database.close()
    assert ([table.rows for table in tables], marks) == ([15], 0)


async def test_a_pass_that_got_less_than_the_source_told_of_leaves_no_bookmark(
    downloads: Downloads,
) -> None:
    downloads.source = only_new(downloads)
    await downloads.run()
    downloads.shop.ids = [30, 31, 32]
    downloads.shop.wrong = {1: {"data": [{"id": 32, "n": 32}]}}
    run = await downloads.run()
    assert run.result.tables["items"].kept == "the source told of 3 records and gave 1"

    downloads.shop.wrong = {}
    await downloads.run()
    assert downloads.shop.queries[-1]["since"] == "29"
    assert sorted(downloads.rows()) == list(range(33))
