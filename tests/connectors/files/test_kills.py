"""A download of packed files, killed at random moments, has every row once."""

import gzip
from pathlib import Path
from typing import Any

from milepost import open_database, snapshots
from tests.chaos.downloading import KILLS, Downloading

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
    download = Downloading(
        tmp_path, "data/*.csv.gz", "--into", str(into), "--page-size", "250", cwd=tmp_path
    )
    for _ in range(KILLS):
        download.kill("the first word", lambda: download.log.stat().st_size, within=0.3)
    assert download.finish()["data"]["records"] == FILES * ROWS
    found = contents(into)
    assert [row["id"] for row in found] == list(range(FILES * ROWS))
    assert found[ROWS + 7]["text"] == "text, 7\nof 1"
