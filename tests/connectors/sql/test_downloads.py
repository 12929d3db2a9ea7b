"""Downloads from databases come out as the tables are, however often they are stopped."""

import contextlib
import json
import os
import random
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import svcs

from milepost import open_database, snapshots
from milepost.connectors import Secrets, source_from
from milepost.downloads import DownloadRecords, download_records
from milepost.testing import Sandbox, World, crash_at_every_checkpoint
from tests.chaos.processes import MILEPOST, until
from tests.connectors.sql.bases import Base

ROWS = 20_000
KILLS = int(os.environ.get("KILLS", "3"))
# So many that each of the kills finds some.
PAGE = 200 if KILLS <= 10 else 20


def rows_in(into: str, table: str) -> list[dict[str, Any]]:
    database = open_database(into)
    with database.read() as conn:
        there = [each.name for each in snapshots.list_tables(conn)]
        rows = snapshots.read_rows(conn, table) if table in there else []
    database.close()
    return rows


@pytest.mark.parametrize(("key", "mode"), [("PRIMARY KEY", None), ("", "replace"), ("", "append")])
async def test_a_download_comes_out_the_same_after_every_crash(
    postgres_base: Base, key: str, mode: Any
) -> None:
    postgres_base.run(f"CREATE TABLE t (id integer {key}, name text)")
    postgres_base.insert("t", [{"id": number, "name": f"{number}"} for number in range(8)])
    values = dict(postgres_base.values)

    @contextlib.asynccontextmanager
    async def world() -> AsyncIterator[World]:
        with tempfile.TemporaryDirectory() as folder:
            into = str(Path(folder) / "snapshot.db")
            values["INTO"] = into
            services = svcs.Registry()
            services.register_factory(Secrets, lambda: Secrets(values))
            yield World(services, lambda: rows_in(into, "t"))

    args = DownloadRecords(
        source=source_from(postgres_base.url, page_size=3),
        into="$INTO",
        mode=mode,
        commit_within=0,
    )
    report = await crash_at_every_checkpoint(download_records, args, world=world)

    assert report.same, str(report)
    assert report.saves == 1 + 3 + 1


async def test_the_second_download_reads_what_is_new(base: Base, tmp_path: Path) -> None:
    base.run("CREATE TABLE t (id integer PRIMARY KEY, version integer, name varchar(9))")
    base.insert("t", [{"id": n, "version": n, "name": "old"} for n in range(30)])
    services = svcs.Registry()
    services.register_value(Secrets, Secrets(base.values))
    into = str(tmp_path / "snapshot.db")
    args = DownloadRecords(
        source=source_from(base.url, page_size=7, incremental={"t": "version"}), into=into
    )

    async def download() -> Any:
        async with Sandbox(services) as sandbox:
            return (await sandbox.run(download_records, args)).result.tables["t"]

    first = await download()
    assert (first.records, first.partial) == (30, False)
    base.run("UPDATE t SET name = 'new', version = 30 + id WHERE id IN (3, 5)")
    base.run("INSERT INTO t VALUES (40, 40, 'new')")
    second = await download()
    # The one that was the largest comes again: others may have the same.
    assert (second.records, second.partial, second.deleted) == (4, True, 0)
    found = {row["id"]: (row["version"], row["name"]) for row in rows_in(into, "t")}
    expected = {n: (n, "old") for n in range(30)}
    assert found == expected | {3: (33, "new"), 5: (35, "new"), 40: (40, "new")}


async def test_the_columns_are_those_that_the_database_declares(base: Base, tmp_path: Path) -> None:
    base.run("CREATE TABLE t (id integer PRIMARY KEY, price double precision, name varchar(9))")
    services = svcs.Registry()
    services.register_value(Secrets, Secrets(base.values))
    into = str(tmp_path / "snapshot.db")
    async with Sandbox(services) as sandbox:
        args = DownloadRecords(source=source_from(base.url), into=into)
        assert (await sandbox.run(download_records, args)).result.tables["t"].records == 0

    database = open_database(into)
    with database.read() as conn:
        [table] = snapshots.list_tables(conn)
    database.close()
    assert {column.name: column.kind.value for column in table.columns} == {
        "id": "integer", "price": "float", "name": "text",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["postgres", "mariadb", "sqlite"])
def test_a_download_killed_at_random_moments_is_the_table(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    base: Base = request.getfixturevalue(f"{kind}_base")
    fill(base)
    into = str(tmp_path / "snapshot.db")
    command = [
        *MILEPOST, "download", base.url, "--into", into, "--page-size", f"{PAGE}", "--json",
        "--commit-within", "0",
    ]  # fmt: skip
    environment = {
        **os.environ, **base.values, "DATABASE_URL": f"sqlite:///{tmp_path}/store.db",
        # Three kills in a row may come before a page is written.
        "MILEPOST_MOST_RESCUES": str(KILLS + 1),
    }  # fmt: skip
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for kill in range(KILLS if kind == "postgres" or KILLS > 10 else 2):
        with (tmp_path / f"{kill}.log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            enough = pages_in(into) + chance.randint(1, 3)
            until(
                lambda enough=enough, process=process: (
                    pages_in(into) >= enough or process.poll() is not None
                ),
                f"page {enough}",
            )
            assert process.poll() is None, (tmp_path / f"{kill}.log").read_text()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, 0.02))
            process.kill()
            process.wait(30)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["tables"]["t"]["records"] == ROWS
    assert rows_in(into, "t") == [
        {"id": n, "name": f"row {n}", "price": n / 4} for n in range(1, ROWS + 1)
    ]


def fill(base: Base) -> None:
    base.run("CREATE TABLE t (id integer PRIMARY KEY, name varchar(20), price decimal(10,2))")
    numbers = {
        "postgres": f"generate_series(1, {ROWS}) AS n(n)",
        "mariadb": f"(SELECT seq AS n FROM seq_1_to_{ROWS}) AS n",
        "sqlite": "(WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n "
        f"LIMIT {ROWS}) SELECT n FROM n) AS n",
    }
    name = "concat('row ', n)" if base.kind != "sqlite" else "'row ' || n"
    base.run(f"INSERT INTO t SELECT n, {name}, n / 4.0 FROM {numbers[base.kind]}")


def pages_in(into: str) -> int:
    """How many pages a snapshot has, asked beside its writer."""
    if not Path(into).exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{into}?mode=ro", uri=True)) as conn:
        try:
            return int(conn.execute("SELECT count(*) FROM t").fetchone()[0]) // PAGE
        except sqlite3.OperationalError:
            return 0
