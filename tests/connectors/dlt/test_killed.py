"""`milepost download dlt:…` of a resource that rises, killed at random moments."""

import contextlib
import json
import os
import random
import sqlite3
import subprocess
from datetime import timedelta
from functools import partial
from pathlib import Path

from milepost import open_database, snapshots
from tests.chaos.processes import MILEPOST, ROOT, until
from tests.connectors.dlt.shop import BEGAN

KILLS = int(os.environ.get("KILLS", "3"))
SIZE = 20
# So many pages that each of the kills finds some.
RECORDS = SIZE * max(200, KILLS * 10)


def test_all_records_are_there_once(tmp_path: Path) -> None:
    into = tmp_path / "shop.db"
    arguments = {"count": RECORDS, "size": SIZE, "pause": 0.005, "token": "$TOKEN"}
    command = [
        *MILEPOST, "download", "dlt:tests.connectors.dlt.shop.shop", "--table", "orders",
        "--into", str(into), "--page-size", f"{SIZE}", "--commit-within", "0", "--json",
        "--option", f"arguments={json.dumps(arguments)}",
    ]  # fmt: skip
    environment = {
        **os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/store.db", "TOKEN": "open sesame",
        # Three kills in a row may come before a page is written.
        "MILEPOST_MOST_RESCUES": str(KILLS + 1),
    }  # fmt: skip
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for kill in range(KILLS):
        enough = stored(into) + chance.randint(1, 3) * SIZE
        with (tmp_path / f"{kill}.log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)
            until(partial(has_come_to, enough, into, process), f"record {enough}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, 0.03))
            assert process.poll() is None, (tmp_path / f"{kill}.log").read_text()
            process.kill()
            process.wait(30)
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])["tables"]["orders"]
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


def has_come_to(enough: int, into: Path, process: subprocess.Popen[bytes]) -> bool:
    return stored(into) >= enough or process.poll() is not None
