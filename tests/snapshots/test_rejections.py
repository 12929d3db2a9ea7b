from typing import Any

import pytest
from sqlalchemy import Engine

from milepost.errors import RecordRejected
from milepost.snapshots import TableSpec
from tests.snapshots.destinations import LOG, ORDERS, begin, rows, write

GOOD = {"id": 1, "x": "fine"}


def rejected(engine: Engine, record: Any, table: TableSpec = ORDERS) -> RecordRejected:
    begin(engine, table)
    write(engine, table, [GOOD])
    with pytest.raises(RecordRejected) as raised:
        write(engine, table, [{"id": 2, "x": "fine too"}, record, {"id": 3}])
    assert rows(engine, table) == [GOOD]
    assert (raised.value.table, raised.value.index) == (table.name, 1)
    return raised.value


@pytest.mark.parametrize("record", [None, 5, "text", [1], [["id", 1]], ("id",)])
def test_a_record_that_is_no_object(engine: Engine, record: Any) -> None:
    error = rejected(engine, record)
    assert error.field is None
    assert "not an object" in error.reason


def test_a_field_whose_name_is_no_text(engine: Engine) -> None:
    assert "name is not text: 5" in rejected(engine, {"id": 2, 5: 1}).reason


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"x": 1}, "missing"),
        ({}, "missing"),
        ({"id": None}, "null"),
        ({"id": {}}, "nested"),
        ({"id": [1]}, "nested"),
        ({"id": "k" * 2001}, "longer than 2,000 bytes"),
        ({"id": "é" * 1001}, "longer than 2,000 bytes"),
        ({"id": float("nan")}, "not a JSON number"),
    ],
)
def test_a_key_that_identifies_nothing(engine: Engine, record: Any, reason: str) -> None:
    error = rejected(engine, record)
    assert error.field == "id"
    assert reason in error.reason


def test_a_page_in_which_no_record_has_the_key(engine: Engine) -> None:
    begin(engine, ORDERS)
    with pytest.raises(RecordRejected, match="record 0, field 'id': the key is missing"):
        write(engine, ORDERS, [{"x": 1}, {}])


def test_the_longest_key(engine: Engine) -> None:
    table = TableSpec("orders", ("a", "b"))
    begin(engine, table)
    # Not compressible: PostgreSQL's limit holds for what is left after compression.
    record = {
        name: "".join(chr(0x4E00 + (i * i * 7919 + ord(name)) % 20000) for i in range(333))
        for name in "ab"
    }
    write(engine, table, [record])

    assert rows(engine, table) == [record]


def test_half_a_surrogate_pair_in_a_key(engine: Engine) -> None:
    assert rejected(engine, {"id": "\ud800"}).field == "id"


@pytest.mark.parametrize("value", ["NaN", "\\u0000", ["NaN", "Infinity", "\\u0000", "\\\\u0000"]])
def test_texts_that_only_look_wrong(engine: Engine, value: Any) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "x": value}, {"id": 2, "y": [value]}])

    assert rows(engine) == [{"id": 1, "x": value, "y": None}, {"id": 2, "x": None, "y": [value]}]


@pytest.mark.parametrize("value", [object(), {object()}, [object()], b"\xff", {"a": b"\xff"}])
def test_what_cannot_be_written_as_json(engine: Engine, value: Any) -> None:
    error = rejected(engine, {"id": 2, "y": value})
    assert error.field == "y"
    assert "cannot be written as JSON" in error.reason


def test_an_endless_value(engine: Engine) -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert rejected(engine, {"id": 2, "y": endless}).field == "y"


def test_an_integer_that_python_would_not_read_back(engine: Engine) -> None:
    assert "4,000 digits" in rejected(engine, {"id": 2, "y": 10**5000}).reason


def test_a_table_without_a_key_rejects_as_well(engine: Engine) -> None:
    assert rejected(engine, {"id": 2, "y": object()}, LOG).field == "y"


def test_no_column_comes_of_a_rejected_page(engine: Engine) -> None:
    begin(engine, ORDERS)
    with pytest.raises(RecordRejected):
        write(engine, ORDERS, [{"id": 1, "new": 1}, {"id": 2, "bad": object()}])
    write(engine, ORDERS, [{"id": 1}])

    assert rows(engine) == [{"id": 1}]
