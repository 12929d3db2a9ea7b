"""Tables of the lists inside of others' records, from every kind of source."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from milepost import JobState, open_database, snapshots
from milepost.cli.main import app
from milepost.connectors import Access, Connector, Secrets, open_connector, source_from
from milepost.downloads.children import Child, WithChildren
from milepost.errors import FatalConnectorError
from tests.connectors.airbyte.conftest import Replay, ended
from tests.connectors.airbyte.conftest import record as airbyte_record
from tests.connectors.dlt.conftest import _fresh, opened
from tests.connectors.singer.conftest import Tap
from tests.downloads.conftest import Downloads

__all__ = ["_fresh"]

ORDERS: list[dict[str, Any]] = [
    {"id": 1, "lines": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}], "ship": {"boxes": [7, "x"]}},
    {"id": 2, "lines": [], "ship": None},
    {"id": 3, "lines": {"sku": "c", "n": 3}, "ship": {}},
]
LINES = [
    {"sku": "a", "n": 1, "orders_id": 1, "_place": 0},
    {"sku": "b", "n": 2, "orders_id": 1, "_place": 1},
    {"sku": "c", "n": 3, "orders_id": 3, "_place": 0},
]
BOXES = [
    {"value": 7, "orders_id": 1, "_place": 0},
    {"value": "x", "orders_id": 1, "_place": 1},
]


def write_orders(folder: Path, orders: list[dict[str, Any]]) -> Path:
    path = folder / "orders.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in orders))
    return path


def opened_at(address: str) -> Connector:
    return open_connector(source_from(address), Access(secrets=Secrets({})))


def fill(url: str, kind: str) -> None:
    database = open_database(url)
    with database.begin() as conn:
        conn.execute(text(f"CREATE TABLE orders (id INTEGER PRIMARY KEY, lines {kind})"))
        for each in ORDERS:
            given = {"id": each["id"], "lines": json.dumps(each["lines"])}
            conn.execute(
                text(
                    "INSERT INTO orders VALUES (:id, CAST(:lines AS TEXT))"
                    if kind == "TEXT"
                    else "INSERT INTO orders VALUES (:id, CAST(:lines AS JSONB))"
                ),
                given,
            )
    database.close()


async def inside(connector: Connector, field: str) -> list[Any]:
    children = WithChildren(connector, {"lines": Child(parent="orders", field=field)})
    try:
        table = {each.name: each for each in await children.tables()}["lines"]
        assert table.key == ("orders_id", "_place")
        pages = [page async for page in children.pages("lines", after=None)]
        assert pages[-1].last
        # Whoever has read the first page can go on behind it.
        first = pages[0]
        if first.cursor is not None and not first.last:
            after = [page async for page in children.pages("lines", after=first.cursor)]
            assert [*first.records, *(r for page in after for r in page.records)] == [
                record for page in pages for record in page.records
            ]
        assert {(page.bookmark, page.total, page.skipped) for page in pages} == {(None, None, ())}
        return [record for page in pages for record in page.records]
    finally:
        await children.aclose()


async def test_lists_in_a_file_are_a_table(tmp_path: Path) -> None:
    address = str(write_orders(tmp_path, ORDERS))
    assert await inside(opened_at(address), "lines") == LINES
    assert await inside(opened_at(address), "ship.boxes") == BOXES


async def test_json_columns_of_databases_are_tables(tmp_path: Path, postgres_url: str) -> None:
    fill(str(tmp_path / "shop.db"), "TEXT")
    assert await inside(opened_at(f"sqlite:///{tmp_path}/shop.db"), "lines") == LINES
    fill(postgres_url, "JSONB")
    assert await inside(opened_at(postgres_url), "lines") == LINES


async def test_lists_that_a_tap_gives_are_a_table(tmp_path: Path) -> None:
    found = await inside(Tap(tmp_path).open(), "nested.a")
    assert found == [{"value": n, "orders_id": n, "_place": 0} for n in range(1, 24)]


async def test_lists_that_an_airbyte_source_gives_are_a_table(tmp_path: Path) -> None:
    replay = Replay(tmp_path)
    replay.streams[0]["source_defined_primary_key"] = [["id"]]
    said = [airbyte_record(each["id"]) for each in ORDERS]
    for each, order in zip(said, ORDERS, strict=True):
        each["record"]["data"] = order
    replay.tells(*said, ended("COMPLETE"))
    assert await inside(replay.open(), "lines") == LINES


async def test_lists_that_a_dlt_source_gives_are_a_table() -> None:
    found = await inside(opened(), "lines")
    assert found == [{"sku": f"s{n}", "orders_id": n, "_place": 0} for n in range(1, 24)]


async def test_children_and_parents_are_downloaded_and_gone_together(
    downloads: Downloads, tmp_path: Path
) -> None:
    path = write_orders(tmp_path, ORDERS)
    downloads.source = source_from(str(path), page_size=2)
    children = {"lines": Child(parent="orders", field="lines", key=("orders_id", "sku"))}
    first = (await downloads.run(children=children, key=("id",))).result.tables
    assert {name: table.inserted for name, table in first.items()} == {"orders": 3, "lines": 3}

    write_orders(tmp_path, [{**ORDERS[0], "lines": [{"sku": "b", "n": 5}]}, *ORDERS[1:]])
    again = (await downloads.run(children=children, key=("id",))).result.tables["lines"]
    assert (again.updated, again.unchanged, again.deleted) == (1, 1, 1)

    database = open_database(str(downloads.into))
    with database.read() as conn:
        found = snapshots.read_rows(conn, "lines", deleted=False)
    database.close()
    assert found == [
        {"sku": "b", "n": 5, "orders_id": 1}, {"sku": "c", "n": 3, "orders_id": 3}
    ]  # fmt: skip


async def test_what_is_no_list_is_left_out_told_and_takes_no_row_away(
    downloads: Downloads, tmp_path: Path
) -> None:
    children = {"lines": Child(parent="orders", field="lines")}
    downloads.source = source_from(str(write_orders(tmp_path, ORDERS)))
    await downloads.run(children=children)
    write_orders(tmp_path, [{"id": 1, "lines": "a, b"}, ORDERS[1], ORDERS[2]])
    run = await downloads.run(children=children)

    table = run.result.tables["lines"]
    assert (table.skipped, table.deleted) == (1, 0)
    assert any("'lines', which is no list (orders_id 1)" in line.message for line in run.log)


@pytest.mark.parametrize(
    ("child", "said"),
    [
        (Child(parent="bills", field="lines"), "is of 'bills'; the source has: orders"),
        (Child(parent="orders", field="lines", parent_fields=("no",)), "no field 'no'"),
        (Child(parent="orders", field="own"), "a field 'orders_id' of their own"),
    ],
)
async def test_a_child_that_cannot_be_read_says_why(
    downloads: Downloads, tmp_path: Path, child: Child, said: str
) -> None:
    path = write_orders(tmp_path, [{"id": 1, "lines": [{}], "own": [{"orders_id": 3}]}])
    downloads.source = source_from(str(path))
    run = await downloads.run(children={"child": child})

    assert run.state is JobState.FAILED
    assert run.view.error is not None
    assert said in run.view.error
    with pytest.raises(FatalConnectorError):
        await inside(opened_at(str(path)), "own")


def test_children_are_asked_for_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    write_orders(tmp_path, ORDERS)
    asked = ("--child", "orders:lines", "--child", "boxes=orders:ship.boxes")
    for command in (
        ("create", "shop", "orders.jsonl", "--into", "shop.db", *asked),
        ("sync", "shop"),
        ("rows", "shop", "boxes", "--json"),
    ):
        done = CliRunner().invoke(app, ["snapshots", *command])
        assert done.exit_code == 0, done.output
    assert [json.loads(line)["value"] for line in done.output.splitlines()] == ["7", "x"]
    database = open_database("shop.db")
    with database.read() as conn:
        assert snapshots.read_rows(conn, "orders_lines") == LINES
    database.close()

    wrong = CliRunner().invoke(app, ["download", "orders.jsonl", "--into", "a.db", "--child", "x"])
    assert wrong.exit_code == 2
    assert "--child takes TABLE:FIELD or NAME=TABLE:FIELD, not 'x'" in wrong.output
