"""dlt's own sources into a database: SQL, files; on from where they were."""

import csv
from pathlib import Path
from typing import Any

import pytest
import svcs
from sqlalchemy import create_engine, text

from milepost import open_database, snapshots
from milepost.connectors import Secrets, source_from
from milepost.downloads import DownloadRecords, download_records
from milepost.downloads.state import TableDownloaded
from milepost.testing import Sandbox
from tests.cli.commands import lines, milepost
from tests.connectors.dlt.conftest import opened, pages_of


async def download(source: Any, into: Path, url: str) -> dict[str, TableDownloaded]:
    services = svcs.Registry()
    services.register_value(Secrets, Secrets({"URL": url}))
    args = DownloadRecords(source=source, into=str(into))
    async with Sandbox(services) as sandbox:
        return (await sandbox.run(download_records, args)).result.tables


def rows(into: Path, table: str) -> list[dict[str, Any]]:
    database = open_database(str(into))
    with database.read() as conn:
        found = [dict(row) for row in snapshots.read_rows(conn, table, bookkeeping=True)]
    database.close()
    return found


@pytest.fixture
def shop(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/source.db"
    engine = create_engine(url)
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT, paid NUMERIC)"))
        conn.execute(text("CREATE TABLE notes (id INTEGER PRIMARY KEY, of INTEGER)"))
        for number in range(1, 24):
            conn.execute(
                text("INSERT INTO orders VALUES (:id, :name, 1.5)"),
                {"id": number, "name": f"order {number}"},
            )
    engine.dispose()
    return url


async def test_a_database_is_read_in_whole_and_what_is_gone_is_marked(
    shop: str, tmp_path: Path
) -> None:
    source = source_from("dlt:sql_database", arguments={"credentials": "$URL", "chunk_size": 4})
    into = tmp_path / "into.db"
    done = await download(source, into, shop)
    assert {name: each.records for name, each in done.items()} == {"orders": 23, "notes": 0}
    engine = create_engine(shop)
    with engine.begin() as conn:
        conn.execute(text("DELETE FROM orders WHERE id = 7"))
    engine.dispose()
    again = await download(source, into, shop)
    assert (again["orders"].records, again["orders"].deleted) == (22, 1)
    gone = [row["id"] for row in rows(into, "orders") if row["_milepost_deleted_at"] is not None]
    assert gone == [7]


async def test_a_table_with_a_rising_column_goes_on_where_it_was(shop: str, tmp_path: Path) -> None:
    rising = {"cursor_path": "id", "row_order": "asc"}
    arguments = {"credentials": "$URL", "table": "orders", "incremental": rising, "chunk_size": 5}
    options: dict[str, Any] = {"arguments": arguments, "page_size": 5}
    name = "dlt.sources.sql_database.sql_table"
    pages = await pages_of(opened(name, env={"URL": shop}, **options), "orders")
    assert [len(page.records) for page in pages] == [5, 5, 5, 5, 3]
    rest = await pages_of(opened(name, env={"URL": shop}, **options), "orders", pages[1].cursor)
    assert [row["id"] for page in rest for row in page.records] == list(range(11, 24))
    into = tmp_path / "into.db"
    source = source_from(f"dlt:{name}", **options)
    await download(source, into, shop)
    engine = create_engine(shop)
    with engine.begin() as conn:
        conn.execute(text("INSERT INTO orders VALUES (24, 'new', 2)"))
    engine.dispose()
    done = await download(source, into, shop)
    assert (done["orders"].records, done["orders"].partial) == (1, True)
    assert len(rows(into, "orders")) == 24


async def test_files_are_listed_by_the_source_for_them(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("a", "b"):
        with (folder / f"{name}.csv").open("w") as file:
            csv.writer(file).writerows([["id"], [name]])
    arguments = {"bucket_url": f"file://{folder}", "file_glob": "*.csv"}
    connector = opened("dlt.sources.filesystem.filesystem", arguments=arguments)
    [table] = await connector.tables()
    pages = await pages_of(connector, table.name)
    assert [row["file_name"] for page in pages for row in page.records] == ["a.csv", "b.csv"]


def test_a_source_in_the_working_directory_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "zoo.py").write_text(
        "import dlt\n"
        "@dlt.source\n"
        "def zoo(owner, token=dlt.secrets.value):\n"
        "    @dlt.resource(primary_key='id')\n"
        "    def animals(id=dlt.sources.incremental('id', row_order='asc')):\n"
        "        yield [{'id': n, 'owner': owner} for n in range(10) if n > (id.last_value or -1)]\n"
        "    return animals\n"
    )
    command = [
        "download", "dlt:zoo.zoo", "--into", "zoo.db", "--json",
        "--option", 'arguments={"owner": "Ann", "token": "$ZOO_TOKEN"}',
    ]  # fmt: skip
    for records in (10, 0):
        done = milepost(tmp_path, *command, ZOO_TOKEN="open sesame")
        assert done.returncode == 0, done.stderr
        assert lines(done)[-1]["tables"]["animals"]["records"] == records
    assert [row["owner"] for row in rows(tmp_path / "zoo.db", "animals")] == ["Ann"] * 10
    for each in tmp_path.glob("*.db"):
        assert b"open sesame" not in each.read_bytes()
