"""`milepost download airbyte:…`, killed at random moments with airbyte-cdk below it."""

import contextlib
import json
import sqlite3
from functools import partial
from pathlib import Path

import psutil
import pytest

from milepost import open_database, snapshots
from tests.chaos.downloading import KILLS, Downloading
from tests.chaos.processes import alive, below, until
from tests.connectors.airbyte.shop import MANIFEST, TOKEN, Shop

# A slice of 5 days has 100, and no attempt lives for long after it has written some.
ORDERS = 1000 * (KILLS + 1)


@pytest.mark.usefixtures("airbyte_cdk")
def test_all_records_are_there_once_and_no_process_is_left(tmp_path: Path) -> None:
    shop = Shop(ORDERS, by_day=20, size=25)
    shop.answers_after = 0.02
    shop.start()
    into, folders = tmp_path / "shop.db", tmp_path / "tmp"
    folders.mkdir()
    download = Downloading(
        tmp_path, f"airbyte:{MANIFEST}", "--into", str(into),
        "--page-size", "100", "--table", "orders", "--table", "invoices",
        "--option", f"config={json.dumps(shop.config)}", TMPDIR=str(folders), TOKEN=TOKEN,
    )  # fmt: skip
    children: list[psutil.Process] = []

    def look() -> None:
        children[:] = below(download.pid)

    for kill in range(KILLS):
        # Most moments are of reading, some of the starts before it.
        starts = kill % 3 == 1
        check = partial(_has_begun, download, into, before=None if starts else _written(into))
        download.kill(f"kill {kill}", check, within=2 if starts else 0.2, then=look)
        until(partial(_gone, children), "the end of all processes")
    killed_after = len(shop.asked)
    download.finish()
    shop.stop()
    print("the last attempt began at", shop.asked[killed_after])
    assert not KILLS or "after=2026-01-01" not in shop.asked[killed_after]
    database = open_database(str(into))
    with database.read() as conn:
        rows = {name: snapshots.read_rows(conn, name) for name in ("orders", "invoices")}
    database.close()
    assert [(row["id"], row["name"]) for row in rows["orders"]] == [
        (row["id"], row["name"]) for row in shop.orders
    ]
    assert sorted(row["id"] for row in rows["invoices"]) == [row["id"] for row in shop.invoices]
    # Neither secrets nor kept replies are left.
    until(lambda: not list(folders.iterdir()), "the end of the folders")
    for each in (into, tmp_path / "store.db", *tmp_path.glob("*.log")):
        assert TOKEN.encode() not in each.read_bytes()


def _written(into: Path) -> int:
    with contextlib.closing(sqlite3.connect(into)) as conn:
        try:
            [(count,)] = conn.execute("SELECT count(*) FROM orders")
        except sqlite3.OperationalError:
            return 0
        return int(count)


def _has_begun(download: Downloading, into: Path, *, before: int | None) -> bool:
    """Whether it runs a program, or has written more than before."""
    return bool(below(download.pid)) if before is None else _written(into) > before


def _gone(children: list[psutil.Process]) -> bool:
    return not alive(children)
