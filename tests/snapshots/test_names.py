from typing import Any

import pytest
from sqlalchemy import Engine, text

from milepost.snapshots import TableSpec
from milepost.snapshots.names import column_name, relation_name
from tests.snapshots.destinations import ORDERS, begin, rows, summary, whole_pass, write

NASTY = [
    "Id",
    "ID",
    "iD ",
    "",
    " ",
    "_",
    "select",
    "order",
    'quote"',
    "quote'",
    "a;DROP TABLE x",
    "per%cent",
    "%s",
    ":colon",
    "?",
    "a.b",
    "a_b",
    "a b",
    "new\nline",
    "nul\0",
    "\ud800",
    "Größe",
    "GRÖSSE",
    "größe",
    "ﬁ",
    "e\u0301",
    "é",
    "名前",
    "🚲",
    "x" * 63,
    "x" * 64,
    "x" * 500,
    "é" * 40,
    "名" * 40,
    "ctid",
    "xmin",
    "tableoid",
    "oid",
    "rowid",
    "_rowid_",
    "_milepost_pass",
    "_milepost_synced_at",
    "_MILEPOST_deleted_at",
    "_milepost_other",
    "field_milepost_pass",
    "excluded",
    "page",
    "0",
    "1",
    "constructor",
]


def test_any_field_name_works(engine: Engine) -> None:
    record: dict[str, Any] = {"id": 1, **{name: number for number, name in enumerate(NASTY)}}
    begin(engine, ORDERS)

    write(engine, ORDERS, [record])
    assert rows(engine) == [record]

    changed = {"id": 1, **{name: f"v {number}" for number, name in enumerate(NASTY)}}
    write(engine, ORDERS, [changed])
    assert rows(engine) == [changed]

    columns = [column.name for column in summary(engine).columns]
    assert len({name.casefold() for name in columns}) == len(columns)
    assert all(0 < len(name.encode()) <= 63 for name in columns)


@pytest.mark.parametrize("name", ["Id", "", 'a"b%s', "_milepost_pass", "ctid", "x" * 100, "\ud800"])
def test_any_field_can_be_the_key(engine: Engine, name: str) -> None:
    table = TableSpec("orders", (name,))
    whole_pass(engine, table, [{name: 1, "n": 1}])
    whole_pass(engine, table, [{name: 1, "n": 2}, {name: "x", "n": 3}])

    assert rows(engine, table) == [{name: "1", "n": 2}, {name: "x", "n": 3}]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "select",
        "Orders",
        'o"r%s:d?',
        "public.orders",
        "größe",
        "名前",
        "t" * 200,
        "é" * 40,
        "milepost_snapshot_tables",
        "milepost_jobs",
        "_milepost_key_orders",
        "_milepost_rebuilt",
        "sqlite_master",
        "sqlite_sequence",
        "SQLITE_x",
        "pg_class",
        "pg_temp",
        "information_schema.tables",
        "excluded",
        "page",
    ],
)
def test_any_table_name_works(engine: Engine, name: str) -> None:
    whole_pass(engine, ORDERS, [{"id": 7}])
    table = TableSpec(name, ("id",))

    whole_pass(engine, table, [{"id": 1, "n": 1}, {"id": 2, "n": 1}])
    whole_pass(engine, table, [{"id": 1, "n": "x"}])

    assert rows(engine, table, deleted=False) == [{"id": 1, "n": "x"}]
    assert rows(engine) == [{"id": 7}]
    assert summary(engine, table).deleted == 1


def test_tables_that_differ_only_by_case_are_two_tables(engine: Engine) -> None:
    for name in ("orders", "Orders", "ORDERS"):
        whole_pass(engine, TableSpec(name, ("id",)), [{"id": name}])
    for name in ("orders", "Orders", "ORDERS"):
        assert rows(engine, TableSpec(name, ("id",))) == [{"id": name}]


def test_the_mapping_of_names_can_be_seen(engine: Engine) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "Id": 2, "Total (€)": 3}])

    columns = {column.field: column.name for column in summary(engine).columns}
    assert columns == {"id": "id", "Id": "Id_2", "Total (€)": "Total_"}
    with engine.begin() as conn:
        assert conn.execute(text('SELECT id, "Id_2", "Total_" FROM orders')).all() == [(1, 2, 3)]
        stored = conn.execute(text("SELECT columns FROM milepost_snapshot_tables")).scalar_one()
    assert '"name": "Id_2"' in stored


@pytest.mark.parametrize(
    ("field", "taken", "name"),
    [
        ("plain", [], "plain"),
        ("Plain", ["plain"], "Plain_2"),
        ("plain", ["Plain", "PLAIN_2"], "plain_3"),
        ("", [], "field"),
        ("***", ["field"], "field_2"),
        ("a-b", ["a_b"], "a_b_2"),
        ("ctid", [], "ctid_2"),
        ("_milepost_x", [], "field_milepost_x"),
        ("x" * 70, ["x" * 63], "x" * 61 + "_2"),
        ("é" * 40, [], "é" * 31),
    ],
)
def test_how_a_column_is_named(field: str, taken: list[str], name: str) -> None:
    assert column_name(field, taken) == name


def test_a_relation_leaves_room_for_the_name_of_its_index() -> None:
    assert relation_name("x" * 70, []) == "x" * 49
    assert relation_name("pg_class", []) == "snapshot_pg_class"
