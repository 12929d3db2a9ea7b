"""Values that no column can hold stand beside them, and read back as they came."""

import json
import math
from typing import Any

import pytest
from sqlalchemy import Engine, text

from milepost.snapshots import Counts, Kind
from tests.snapshots.destinations import LOG, ORDERS, begin, kinds, rows, whole_pass, write

NAN = float("nan")


def deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        NAN,
        float("inf"),
        float("-inf"),
        {"deep": [NAN]},
        "\ud800",
        "a\udfffb",
        ["\ud800"],
        {"\ud800": 1},
        [{"a": ["\ud800"]}],
        deep(300),
    ],
    ids=repr,
)
def test_it_reads_back_and_its_column_is_null(engine: Engine, value: Any) -> None:
    begin(engine, ORDERS)
    page = [{"id": 1, "y": value}, {"id": 2, "y": 5}, {"id": 3}]

    assert write(engine, ORDERS, page) == Counts(inserted=3, misfits=1)

    assert kinds(engine)["y"] is Kind.INTEGER
    assert [same(row["y"]) for row in rows(engine)] == [same(value), "5", "null"]
    with engine.begin() as conn:
        stored = conn.execute(text("SELECT y, _milepost_misfits FROM orders ORDER BY id")).all()
    assert [tuple(row) for row in stored] == [(None, same({"y": value})), (5, None), (None, None)]


@pytest.mark.parametrize("value", ["a\0b", ["\0"], {"\0": 1}, ["\\\0"], [1, {"a": "\0"}]], ids=repr)
def test_the_character_nul_is_one_where_the_database_cannot_hold_it(
    engine: Engine, value: Any
) -> None:
    begin(engine, ORDERS)
    written = write(engine, ORDERS, [{"id": 1, "x": value}])

    assert written.misfits == (engine.dialect.name == "postgresql")
    assert rows(engine) == [{"id": 1, "x": value}]
    write(engine, ORDERS, [{"id": 2, "x": {}}])
    assert rows(engine)[0] == {"id": 1, "x": value}


def test_it_goes_with_the_version_that_had_it(engine: Engine) -> None:
    whole_pass(engine, ORDERS, [{"id": 1, "y": NAN}])
    assert whole_pass(engine, ORDERS, [{"id": 1, "y": NAN}]) == 0
    begin(engine, ORDERS)
    assert write(engine, ORDERS, [{"id": 1, "y": NAN}], number=3).unchanged == 1
    assert write(engine, ORDERS, [{"id": 1, "y": None}], number=3).updated == 1

    assert rows(engine) == [{"id": 1, "y": None}]


def test_however_deep(engine: Engine) -> None:
    begin(engine, ORDERS)
    for depth in range(240, 262):
        write(engine, ORDERS, [{"id": depth, "y": deep(depth)}])
        assert rows(engine)[-1]["y"] == deep(depth)


def test_without_a_key(engine: Engine) -> None:
    begin(engine, LOG)
    write(engine, LOG, [{"y": float("inf")}, {"y": 1}])

    assert rows(engine, LOG) == [{"y": math.inf}, {"y": 1}]


def same(value: Any) -> str:
    return json.dumps(value)
