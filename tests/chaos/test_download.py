"""Records over HTTP, killed at random moments; `KILLS=100` for more of both."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from milepost import open_database, snapshots
from tests.chaos.downloading import KILLS, Downloading
from tests.chaos.records import PAGE, RECORDS, Server, record

MOST_PAGES = min(8, RECORDS // PAGE // KILLS // 2)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def destination(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if kind == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return str(tmp_path / f"snapshot.{kind}")


@pytest.mark.parametrize(("kind", "ahead"), [("sqlite", 0), ("postgres", 1), ("duckdb", 0)])
def test_promise_3_a_download_killed_at_random_moments_has_every_record_once(
    server: Server, kind: str, ahead: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    into = destination(kind, request, tmp_path)
    download = Downloading(
        tmp_path, server.start(), "--into", into, "--page-size", str(PAGE),
        "--option", f"read_ahead={ahead}", "--commit-within", "0",
    )  # fmt: skip
    for _ in range(KILLS):
        # After some more pages, and then a moment that may be anywhere in fetching or writing.
        enough = server.asked.total() + download.chance.randint(1, MOST_PAGES)
        check = partial(has_come_to, server, enough)
        download.kill(f"page request {enough}", check, within=0.03)
    assert download.finish()["records"]["records"] == RECORDS

    assert set(server.asked) == set(range(RECORDS // PAGE))
    again = server.asked.total() - len(server.asked)
    print(f"{again} pages asked again after {KILLS} kills")
    assert again <= KILLS * (1 + ahead)
    assert max(server.asked.values()) <= KILLS + 1

    database = open_database(into)
    with database.read() as conn:
        rows = snapshots.read_rows(conn, "records")
    database.close()
    assert len(rows) == RECORDS
    for index, row in enumerate(rows):
        assert row == record(index), row


def test_a_killed_download_can_be_begun_anew(server: Server, tmp_path: Path) -> None:
    arguments = (server.start(), "--into", str(tmp_path / "a.db"), "--page-size", str(PAGE))
    Downloading(tmp_path, *arguments).kill("some pages", partial(has_come_to, server, 4), within=0)
    anew = Downloading(tmp_path, *arguments, "--full")
    anew.kill("the first page again", lambda: server.asked[0] == 2, within=0)
    [told, *_] = anew.log.read_text().splitlines()
    assert json.loads(told) == {"event": "submitted", "job": 2}


def has_come_to(server: Server, enough: int) -> bool:
    return server.asked.total() >= enough
