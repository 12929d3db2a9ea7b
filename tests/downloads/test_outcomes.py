"""What became of each record, and what happens where the destination does not take it."""

import asyncio
import contextlib
import json
import os
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from milepost import Database, JobState, open_database
from milepost.downloads import TableDownloaded
from milepost.snapshots import read_quarantine, read_rows, read_versions
from milepost.store import reading
from tests.chaos.processes import MILEPOST
from tests.downloads.conftest import Downloads


async def outcome(downloads: Downloads, **options: Any) -> TableDownloaded:
    run = await downloads.run(**options)
    assert run.state is JobState.COMPLETED, run.view.error
    return run.result.tables["items"]


def in_destination(downloads: Downloads, work: Callable[..., Any], *args: Any) -> Any:
    database = open_database(str(downloads.into))
    try:
        with database.begin() as conn:
            return work(conn, *args)
    finally:
        database.close()


def statement(downloads: Downloads, sql: str) -> None:
    in_destination(downloads, lambda conn: conn.execute(text(sql)))


async def test_each_record_is_new_changed_or_unchanged(downloads: Downloads) -> None:
    first = await outcome(downloads)
    assert (first.records, first.inserted, first.updated, first.unchanged) == (30, 30, 0, 0)

    downloads.shop.ids = [*range(2, 30), 77]
    changed = [{"id": each, "n": -1} for each in range(4, 7)]
    downloads.shop.wrong[1] = {"data": [{"id": 2, "n": 2}, {"id": 3, "n": 3}, *changed]}
    second = await outcome(downloads)

    assert (second.records, second.deleted) == (29, 0)
    assert (second.inserted, second.updated, second.unchanged) == (1, 3, 25)


async def test_what_cannot_be_stored_is_set_aside_and_nothing_is_taken_for_gone(
    downloads: Downloads,
) -> None:
    await outcome(downloads)
    downloads.shop.ids = list(range(20))
    odd = [{"n": 5}, {"id": 6, "n": [1, "\ud800"]}, {"id": {}}, {"id": 8, "n": 8}]
    downloads.shop.wrong[2] = {"data": [*odd, {"id": 9, "n": 9}]}

    table = await outcome(downloads)

    assert (table.records, table.quarantined, table.misfits, table.deleted) == (20, 2, 1, 0)
    assert table.kept is not None
    assert "2 records are in quarantine, so nobody knows which are gone" in table.kept
    kept = in_destination(downloads, read_quarantine, "items")
    assert [(each.position, each.record, each.reason) for each in kept] == [
        (6, {"n": 5}, "the key is missing"),
        (8, {"id": {}}, "the key is nested, and cannot be compared"),
    ]
    assert in_destination(downloads, read_rows, "items")[6] == {"id": 6, "n": [1, "\ud800"]}


async def test_too_many_that_cannot_be_stored_fail_the_job(downloads: Downloads) -> None:
    downloads.shop.wrong[3] = {"data": [{"id": 10, "n": 1}, {"n": 1}, {"n": 2}, {"n": 3}]}
    run = await downloads.run(quarantine_limit=2, commit_within=0)

    assert run.state is JobState.FAILED
    assert run.view.error is not None
    assert "record 12, field 'id': the key is missing; so 3 records" in run.view.error
    assert sorted(downloads.rows()) == list(range(10))


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_a_row_that_the_database_refuses_is_set_aside(
    downloads: Downloads, size: int
) -> None:
    downloads.shop.ids = list(range(5))
    await outcome(downloads)
    statement(
        downloads,
        f"CREATE TRIGGER mine BEFORE INSERT ON items WHEN NEW.n >= {30 - size} "
        "BEGIN SELECT RAISE(ABORT, 'not in my house'); END",
    )
    downloads.shop.ids = list(range(30))
    table = await outcome(downloads)

    assert (table.records, table.unchanged, table.inserted) == (30, 5, 25 - size)
    assert table.quarantined == size
    assert sorted(downloads.rows()) == list(range(30 - size))
    kept = in_destination(downloads, read_quarantine, "items")
    assert [each.record["id"] for each in kept] == list(range(30 - size, 30))
    assert {each.reason for each in kept} == {"table 'items': not in my house"}


async def test_the_versions_that_a_row_had_are_kept_where_asked(downloads: Downloads) -> None:
    await outcome(downloads, history=True)
    downloads.shop.wrong[1] = {"data": [{"id": each, "n": each * 10} for each in range(5)]}
    await outcome(downloads, history=True)

    versions = in_destination(downloads, read_versions, "items", [3])
    assert [(version.record["n"], version.until is None) for version in versions] == [
        (3, False), (30, True)
    ]  # fmt: skip


async def test_a_full_disk_is_named_and_costs_nothing_that_was_stored(
    downloads: Downloads, tmp_path: Path
) -> None:
    downloads.shop.ids = list(range(3000))
    long = "x" * 300
    for page in range(1, 601):
        downloads.shop.wrong[page] = {
            "data": [{"id": n, "n": long} for n in range((page - 1) * 5, page * 5)]
        }
    command = [
        *MILEPOST, "download", f"{downloads.url}/items", "--into", str(tmp_path / "full.db"),
        "--json",
    ]  # fmt: skip
    env = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/store.db"}

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))

    process = await asyncio.to_thread(
        subprocess.Popen, command, env=env, stdout=subprocess.DEVNULL, preexec_fn=small
    )
    store = open_database(env["DATABASE_URL"])
    failed = await until_failed(store)
    store.close()
    process.kill()
    await asyncio.to_thread(process.wait, 30)
    assert "DestinationTroubled" in failed
    assert "full" in failed or "I/O" in failed, failed

    done = await asyncio.to_thread(
        subprocess.run, command, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "completed", done.stderr
    downloads.into = tmp_path / "full.db"
    assert sorted(downloads.rows()) == list(range(3000))


async def until_failed(store: Database) -> str:
    """Wait for the first failure of the job; returns what it was."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        # At first its tables are not there.
        with contextlib.suppress(DBAPIError):
            for view in await store.query(lambda conn: reading.recent(conn, limit=1)):
                if view.failures and view.error:
                    return view.error
        await asyncio.sleep(0.05)
    raise AssertionError("the job has not failed")
