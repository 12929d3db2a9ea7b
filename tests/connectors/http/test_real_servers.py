"""API servers as they are on PyPI and npm, each read by a file of a few lines."""

import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from milepost import open_database, snapshots
from milepost.connectors import Access, HttpSource, Secrets, source_from
from milepost.connectors.http.connector import HttpConnector
from milepost.errors import FatalConnectorError, RetryableConnectorError
from tests.api_servers import datasette, json_server
from tests.chaos.processes import MILEPOST
from tests.connectors.conftest import Open, Opened, assert_resumes

pytestmark = pytest.mark.xdist_group("real api servers")

SOURCES = Path(__file__).parent / "sources"
Rows = list[dict[str, Any]]

ORDERS: Rows = [
    {
        "id": number,
        "name": f"Müller & Söhne, 50 % {number}/{number + 1} ★",
        "amount": number / 8,
        "note": None if number % 3 else "",
        "updated_at": f"2024-05-{number:02}T10:00:00Z",
    }
    for number in range(1, 24)
]


@dataclass(frozen=True)
class Running:
    """A server that runs, what it was filled with, and what its example reads from it."""

    kind: str
    url: str
    tables: dict[str, Rows]

    @property
    def source(self) -> str:
        return f"rest:{SOURCES / self.kind}.yaml"

    def lines_of_orders(self) -> Rows:
        return [
            {**line, "orders_id": order["id"]}
            for order in self.tables["orders"]
            for line in self.tables["lines"]
            if line["order_id" if self.kind == "datasette" else "orderId"] == order["id"]
        ]


# No order of a multiple of four has lines, and one has more than are read at once.
LINES = [(order, n) for order in range(1, 24) if order % 4 for n in range(103 if order == 6 else 1)]

SCHEMA = """
    CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT, amount REAL, note TEXT, updated_at TEXT);
    CREATE TABLE lines (order_id INTEGER, number TEXT, PRIMARY KEY (order_id, number));
    CREATE TABLE notes (id INTEGER PRIMARY KEY);
    CREATE TABLE untyped (id PRIMARY KEY);
"""


@pytest.fixture(scope="module", params=["datasette", "json-server"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("server")
    tables: dict[str, Rows] = {"orders": ORDERS, "notes": []}
    if request.param == "datasette":
        # The key's second part has to be quoted in a cursor.
        tables["lines"] = [{"order_id": order, "number": f"{n:03}/ ,ü~"} for order, n in LINES]
        with datasette(folder, SCHEMA, {**tables, "untyped": [{"id": n} for n in range(8)]}) as url:
            yield Running(request.param, url, tables)
        return
    tables["lines"] = [
        {"id": f"l-{index}", "orderId": order, "part": {"number": n, "tags": ["a", n]}}
        for index, (order, n) in enumerate(LINES)
    ]
    with json_server(folder, tables) as url:
        yield Running(request.param, url, tables)


@pytest.fixture
async def one(server: Running) -> AsyncIterator[Opened]:
    secrets = Secrets({"SERVER": server.url})
    source = source_from(server.source)
    assert isinstance(source, HttpSource)
    connector = HttpConnector(source, Access(secrets=secrets))
    yield Opened(connector, secrets)
    await connector.aclose()


@pytest.mark.parametrize("table", ["orders", "lines", "notes"])
async def test_a_table_is_read_row_by_row_and_goes_on_after_every_page(
    server: Running, one: Opened, table: str
) -> None:
    pages = await assert_resumes(one, table)
    assert [record for page in pages for record in page.records] == server.tables[table]
    assert len(pages) >= 4 or table == "notes"


async def test_records_behind_others_are_read_row_by_row_and_go_on_after_every_page(
    server: Running, one: Opened
) -> None:
    rows = server.lines_of_orders()
    pages = await one.pages("lines_of_orders")
    assert [record for page in pages for record in page.records] == rows
    for done in range(1, len(pages)):
        before = [record for page in pages[:done] for record in page.records]
        rest = await one.records("lines_of_orders", pages[done - 1].cursor)
        assert [*before, *rest] == rows


async def test_a_later_pass_asks_only_for_what_is_new(server: Running, one: Opened) -> None:
    pages = await one.pages("orders_since")
    assert [record for page in pages for record in page.records] == ORDERS
    if server.kind == "json-server":
        # Its pages are counted, where a record can slip from one to another: so each pass begins
        # where the one before began.
        pages = await one.pages("orders_since", pages[-1].bookmark)
        assert [record for page in pages for record in page.records] == ORDERS
    assert await one.records("orders_since", pages[-1].bookmark) == ORDERS[-1:]


def test_the_download_of_all_tables_holds_what_the_server_holds(
    server: Running, tmp_path: Path
) -> None:
    into = tmp_path / "snapshot.db"
    done = subprocess.run(
        [*MILEPOST, "download", server.source, "--into", str(into), "--json"],
        env={
            **os.environ, "SERVER": server.url, "DATABASE_URL": f"sqlite:///{tmp_path}/store.db"
        },
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "completed"

    # In the snapshot moments are moments.
    orders = [
        {**order, "updated_at": datetime.fromisoformat(order["updated_at"])} for order in ORDERS
    ]
    wanted = {
        **server.tables,
        "orders": orders,
        "orders_since": orders,
        "lines_of_orders": server.lines_of_orders(),
    }
    database = open_database(str(into))
    with database.read() as conn:
        found = {name: snapshots.read_rows(conn, name) for name in wanted}
    database.close()
    for name, rows in wanted.items():
        assert sorted(found[name], key=repr) == sorted(rows, key=repr), name


@pytest.mark.parametrize("server", ["datasette"], indirect=True)
async def test_pages_of_datasette_that_stay_out_are_missed_by_its_count(
    server: Running, open_http: Open
) -> None:
    # It compares numbers with the texts of its cursors where a key has no type: none is greater.
    url = f"{server.url}/shop/untyped.json?_shape=objects&_size=5"
    with pytest.raises(RetryableConnectorError, match="only 5 of 8 have come"):
        await open_http(url, max_tries=2).pages("untyped")


@pytest.mark.parametrize("server", ["json-server"], indirect=True)
async def test_a_page_of_json_server_alone_is_not_taken_for_the_table(
    server: Running, open_http: Open
) -> None:
    with pytest.raises(FatalConnectorError, match="5 of 23 records.*pass --pagination"):
        await open_http(f"{server.url}/orders?_limit=5").pages()
