"""`milepost download dlt:…` of a resource that rises, killed at random moments."""

import contextlib
import json
import sqlite3
from datetime import timedelta
from functools import partial
from pathlib import Path

from milepost import open_database, snapshots
from tests.chaos.downloading import KILLS, Downloading
from tests.connectors.dlt.shop import BEGAN

SIZE = 20
# So many pages that each of the kills finds some.
RECORDS = SIZE * max(200, KILLS * 10)


def test_all_records_are_there_once(tmp_path: Path) -> None:
    into = tmp_path / "shop.db"
    arguments = {"count": RECORDS, "size": SIZE, "pause": 0.005, "token": "$TOKEN"}
    download = Downloading(
        tmp_path, "dlt:tests.connectors.dlt.shop.shop", "--table", "orders", "--into", str(into),
        "--page-size", f"{SIZE}", "--commit-within", "0",
        "--option", f"arguments={json.dumps(arguments)}", TOKEN="open sesame",
    )  # fmt: skip
    for _ in range(KILLS):
        enough = stored(into) + download.chance.randint(1, 3) * SIZE
        check = partial(has_come_to, enough, into)
        download.kill(f"record {enough}", check, within=0.03)
    told = download.finish()["orders"]
    print(told)
    database = open_database(str(into))
    with database.read() as conn:
        rows = snapshots.read_rows(conn, "orders")
    database.close()
    assert [(row["id"], row["at"]) for row in rows] == [
        (number, BEGAN + timedelta(days=number)) for number in range(1, RECORDS + 1)
    ]
    # What came again after a kill is at most the page that was in hand, and the record before it.
    assert told["records"] - RECORDS <= KILLS * (SIZE + 1)


def stored(into: Path) -> int:
    """How many records a snapshot has, asked beside its writer."""
    if not into.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{into}?mode=ro", uri=True)) as conn:
        try:
            return int(conn.execute("SELECT count(*) FROM orders").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def has_come_to(enough: int, into: Path) -> bool:
    return stored(into) >= enough
