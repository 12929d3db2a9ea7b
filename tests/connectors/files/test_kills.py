"""A download of packed files, killed at random moments, has every row once."""

import gzip
import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

from milepost import open_database, snapshots
from tests.chaos.processes import MILEPOST, until

KILLS = int(os.environ.get("KILLS", "3"))
FILES = 10
ROWS = 5_000


def contents(path: Path) -> list[dict[str, Any]]:
    database = open_database(str(path))
    try:
        with database.read() as conn:
            return list(snapshots.read_rows(conn, "data"))
    finally:
        database.close()


def test_a_download_of_packed_files_killed_at_random_moments_has_every_row_once(
    tmp_path: Path,
) -> None:
    (tmp_path / "data").mkdir()
    for number in range(FILES):
        rows = (f'{number * ROWS + at},"text, {at}\nof {number}"\n' for at in range(ROWS))
        packed = gzip.compress(("id,text\n" + "".join(rows)).encode())
        (tmp_path / "data" / f"{number}.csv.gz").write_bytes(packed)
    into = tmp_path / "snapshot.db"
    command = [
        *MILEPOST, "download", "data/*.csv.gz", "--into", str(into), "--page-size", "250", "--json"
    ]  # fmt: skip
    environment = {
        **os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/store.db",
        # Three kills in a row may come before a page is written.
        "MILEPOST_MOST_RESCUES": str(KILLS + 1),
    }  # fmt: skip
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    killed = 0
    for kill in range(KILLS):
        log = tmp_path / f"{kill}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=tmp_path, env=environment, stdout=out, stderr=out
            )
            until(lambda log=log: log.stat().st_size, "the first word")
            try:
                process.wait(chance.uniform(0, 0.3))
            except subprocess.TimeoutExpired:
                process.kill()
                killed += 1
            process.wait(30)
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert killed == KILLS
    assert told["tables"]["data"]["records"] == FILES * ROWS
    found = contents(into)
    assert [row["id"] for row in found] == list(range(FILES * ROWS))
    assert found[ROWS + 7]["text"] == "text, 7\nof 1"
