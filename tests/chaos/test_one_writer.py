"""Two workers on one download: one that slept past its lease, and its successor."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import text

from milepost import Milepost, Settings, open_database, snapshots
from milepost.connectors import HttpSource
from milepost.downloads import DownloadRecords, download_records
from milepost.snapshots import ledger
from tests.chaos.processes import show, stop_outside_of_a_write, until, worker
from tests.chaos.records import Served

PAGES = 8
SIZE = 50
HELD = 3


class Holding(Served):
    """Serves pages; who asks for the third one first is kept waiting until the test lets go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []
        self.let_go = asyncio.Event()

    def answer_all(self) -> None:
        """Keep nobody waiting any more."""
        self._loop.call_soon_threadsafe(self.let_go.set)

    async def answer(self, request: web.Request) -> web.Response:
        page = int(request.query.get("cursor", "0"))
        self.asked.append(page)
        if self.asked.count(HELD) == 1 and page == HELD:
            await self.let_go.wait()
        following = str(page + 1) if page + 1 < PAGES else None
        ids = range(page * SIZE, (page + 1) * SIZE)
        return web.json_response({
            "data": [{"id": each, "n": -each} for each in ids],
            "next_cursor": following, "total": PAGES * SIZE,
        })  # fmt: skip


@pytest.fixture
def source() -> Iterator[Holding]:
    source = Holding()
    yield source
    source.stop()


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "duckdb"])
def test_promise_2_a_download_has_one_writer_though_two_workers_believe_it_is_theirs(
    kind: str, source: Holding, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    into = str(
        request.getfixturevalue("postgres").create_database()
        if kind == "postgres"
        else tmp_path / f"snapshot.{kind}"
    )
    store = open_database(url)
    job_id = submit(url, f"{source.start()}/records", into)

    with worker(url, tmp_path / "first.log") as first:
        until(lambda: HELD in source.asked, "the page that is kept back")
        stop_outside_of_a_write(first, store)
        with worker(url, tmp_path / "second.log") as second:
            if kind == "duckdb":
                # The sleeper has the file, and nobody else can write: its successor waits.
                until(lambda: second.said("snoozed"), "the second worker to wait for the file")
            else:
                until(lambda: show(url, job_id)["state"] == "completed", "the second")
            source.answer_all()
            first.signal(signal.SIGCONT)
            until(lambda: first.said("lost its lease"), "the first worker to say why")
            until(lambda: show(url, job_id)["state"] == "completed", "the second")
            assert "it can write nothing more" in first.log.read_text()

    store.close()
    shown = show(url, job_id)
    assert shown["attempts"][0]["outcome"] == "rescued"
    assert shown["attempts"][-1]["outcome"] == "completed"
    database = open_database(into)
    with database.read() as conn:
        rows = snapshots.read_rows(conn, "records", bookkeeping=True)
        [passed] = ledger.read_entries(conn, "records")
        attempt = conn.execute(text("SELECT attempt FROM milepost_checkpoints")).scalar_one()
    database.close()
    assert [(row["id"], row["n"]) for row in rows] == [(n, -n) for n in range(PAGES * SIZE)]
    # All of one generation, each row written once, and the last who wrote was the last attempt.
    assert {(row["_milepost_pass"], row["_milepost_first_pass"]) for row in rows} == {(1, 1)}
    assert (passed.counts.inserted, passed.counts.records) == (PAGES * SIZE, PAGES * SIZE)
    assert attempt == len(shown["attempts"]) > 1


def submit(url: str, address: str, into: str) -> int:
    async def submitted() -> int:
        async with Milepost(settings=Settings(database_url=url), observers=()) as milepost:
            args = DownloadRecords(
                source=HttpSource(url=address, page_size=SIZE, read_ahead=0),
                into=into, commit_within=0,
            )  # fmt: skip
            return (await milepost.submit(download_records, args)).job_id

    return asyncio.run(submitted())
