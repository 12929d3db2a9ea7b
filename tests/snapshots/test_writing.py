from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from unittest.mock import ANY

import pytest
from sqlalchemy import Engine, text

from milepost.errors import SnapshotError
from milepost.snapshots import Counts, Kind, TableSpec, begin_pass, write_page
from milepost.snapshots.evolution import MOST_FIELDS
from tests.snapshots.destinations import (
    LOG,
    MORNING,
    ORDERS,
    Page,
    begin,
    finish,
    kinds,
    rows,
    summary,
    whole_pass,
    write,
)

ORDER: dict[str, Any] = {
    "id": 7,
    "price": 12.5,
    "paid": True,
    "customer": "Zoë 🚲",
    "created_at": "2024-05-06T09:08:09.25+02:00",
    "lines": [{"sku": "a\\u0000", "count": 2}, None],
    "address": {"city": "Köln"},
    "note": None,
}


def test_every_kind_reads_back_as_it_was_written(engine: Engine) -> None:
    begin(engine, ORDERS)

    written = write(engine, ORDERS, [ORDER])

    assert written == Counts(inserted=1)
    created_at = datetime(2024, 5, 6, 7, 8, 9, 250_000, tzinfo=UTC)
    assert rows(engine) == [{**ORDER, "created_at": created_at}]
    assert kinds(engine) == {
        "id": Kind.INTEGER,
        "price": Kind.FLOAT,
        "paid": Kind.BOOLEAN,
        "customer": Kind.TEXT,
        "created_at": Kind.TIMESTAMP,
        "lines": Kind.JSON,
        "address": Kind.JSON,
        "note": Kind.UNDECIDED,
    }
    [row] = rows(engine)
    assert type(row["paid"]) is bool
    assert type(row["price"]) is float


def test_the_columns_stand_in_the_fields_order_before_ours(engine: Engine) -> None:
    whole_pass(engine, ORDERS, [ORDER])

    with engine.begin() as conn:
        names = list(conn.execute(text("SELECT * FROM orders")).keys())
    ours = ["row", "pass", "first_pass", "synced_at", "deleted_at", "hash", "misfits"]
    assert names == [*ORDER, *(f"_milepost_{name}" for name in ours)]


def test_a_row_says_when_and_in_which_pass_it_was_seen(engine: Engine) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1}])

    assert rows(engine, bookkeeping=True) == [
        {
            "id": 1,
            "_milepost_pass": 1,
            "_milepost_first_pass": 1,
            "_milepost_synced_at": MORNING,
            "_milepost_deleted_at": None,
            "_milepost_hash": ANY,
        }
    ]


def test_a_later_version_replaces_the_row_and_a_field_it_misses(engine: Engine) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "note": "old", "size": 3}, {"id": 2, "note": "other"}])
    write(engine, ORDERS, [{"id": 1, "note": "new"}])

    assert rows(engine) == [
        {"id": 1, "note": "new", "size": None},
        {"id": 2, "note": "other", "size": None},
    ]


def test_the_last_record_of_a_key_wins_within_a_page(engine: Engine) -> None:
    begin(engine, ORDERS)

    page = [{"id": 1, "n": "a"}, {"id": 2, "n": "b"}, {"id": 1, "n": "c"}, {"id": 1, "n": "d"}]
    written = write(engine, ORDERS, page)

    assert written == Counts(inserted=2, updated=2)
    assert rows(engine) == [{"id": 1, "n": "d"}, {"id": 2, "n": "b"}]


def test_a_key_of_several_fields(engine: Engine) -> None:
    table = TableSpec("lines", ("order", "line"))
    begin(engine, table)
    written = write(
        engine,
        table,
        [
            {"order": 1, "line": "a", "n": 1},
            {"order": 1, "line": "b", "n": 2},
            {"order": 1, "line": "a", "n": 3},
        ],
    )
    write(engine, table, [{"n": 4, "line": "b", "order": 1}])

    assert written == Counts(inserted=2, updated=1)
    assert rows(engine, table) == [
        {"order": 1, "line": "a", "n": 3},
        {"order": 1, "line": "b", "n": 4},
    ]


def test_without_a_key_every_record_is_a_row(engine: Engine) -> None:
    whole_pass(engine, LOG, [{"m": "a"}, {"m": "a"}], [{}])
    whole_pass(engine, LOG, [{"m": "a"}])

    assert [row["m"] for row in rows(engine, LOG)] == ["a", "a", None, "a"]


def test_records_without_any_field(engine: Engine) -> None:
    begin(engine, LOG)
    write(engine, LOG, [{}, {}])

    assert rows(engine, LOG) == [{}, {}]
    assert summary(engine, LOG).rows == 2


def test_an_empty_page_writes_nothing(engine: Engine) -> None:
    begin(engine, ORDERS)

    assert write(engine, ORDERS, []) == Counts()
    assert rows(engine) == []
    assert summary(engine).rows == 0


def test_a_field_that_is_always_null_has_a_column(engine: Engine) -> None:
    whole_pass(engine, ORDERS, [{"id": 1, "fax": None}])
    whole_pass(engine, ORDERS, [{"id": 1, "fax": None}])

    assert rows(engine) == [{"id": 1, "fax": None}]
    with engine.begin() as conn:
        assert conn.execute(text("SELECT fax FROM orders")).all() == [(None,)]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (5, Kind.INTEGER),
        (1.5, Kind.FLOAT),
        (False, Kind.BOOLEAN),
        ("007", Kind.TEXT),
        (["5"], Kind.JSON),
    ],
)
def test_a_null_field_takes_the_kind_of_its_first_value(
    engine: Engine, value: Any, kind: Kind
) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "x": None}])
    write(engine, ORDERS, [{"id": 2, "x": value}, {"id": 3}])

    assert kinds(engine)["x"] is kind
    assert [row["x"] for row in rows(engine)] == [None, value, None]
    assert type(rows(engine)[1]["x"]) is type(value)


def test_new_fields_bring_new_columns(engine: Engine) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1}])
    write(engine, ORDERS, [{"id": 2, "a": 1}, {"id": 3, "b": {"c": []}, "d": None}])

    assert rows(engine) == [
        {"id": 1, "a": None, "b": None, "d": None},
        {"id": 2, "a": 1, "b": None, "d": None},
        {"id": 3, "a": None, "b": {"c": []}, "d": None},
    ]


def test_what_is_not_json_becomes_what_pydantic_makes_of_it(engine: Engine) -> None:
    begin(engine, ORDERS)
    moment = datetime(2024, 1, 2, 3, tzinfo=timezone(timedelta(hours=1)))
    record = {"id": 1, "at": moment, "sum": Decimal("1.10"), "of": ("a", 1)}
    write(engine, ORDERS, [MappingProxyType(record)])

    assert rows(engine) == [{"id": 1, "at": moment, "sum": "1.10", "of": ["a", 1]}]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "007",
        "1e3",
        "true",
        "null",
        "'; DROP TABLE orders; --",
        "%s ? :x",
        "\\N\t\n\r",
        "\u2028\ufeff",
        -(2**63),
        2**63 - 1,
        5e-324,
        0.1,
    ],
)
def test_awkward_scalars_survive(engine: Engine, value: Any) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "x": value, "nested": [value]}])

    assert rows(engine) == [{"id": 1, "x": value, "nested": [value]}]


def test_a_huge_float_survives(engine: Engine) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "x": 1.7976931348623157e308, "nested": [1e23]}])

    [row] = rows(engine)
    assert row["x"] == 1.7976931348623157e308
    # PostgreSQL's jsonb has decimal numbers, and writes this one without an exponent.
    assert row["nested"] in ([1e23], [10**23])


def test_a_page_is_written_whole_or_not_at_all(engine: Engine) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "n": 1}])

    with pytest.raises(SnapshotError):
        write(engine, ORDERS, [{"id": 2, "n": "x", "new": 1}, {"id": None}])

    assert rows(engine) == [{"id": 1, "n": 1}]
    assert kinds(engine) == {"id": Kind.INTEGER, "n": Kind.INTEGER}


def test_a_rollback_takes_new_columns_back(engine: Engine) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "n": 1}])

    with engine.connect() as conn:
        page = [{"id": 2, "n": "x", "new": 1}]
        write_page(conn, ORDERS, page, pass_number=1, synced_at=MORNING)
        conn.rollback()

    write(engine, ORDERS, [{"id": 2, "n": 2, "new": "y"}])
    assert rows(engine) == [{"id": 1, "n": 1, "new": None}, {"id": 2, "n": 2, "new": "y"}]


def test_two_pages_in_one_transaction(engine: Engine) -> None:
    with engine.begin() as conn:
        number = begin_pass(conn, ORDERS)
        pages: list[Page] = [[{"id": 1, "n": 1}], [{"id": 1, "n": "x"}, {"id": 2}]]
        for page in pages:
            write_page(conn, ORDERS, page, pass_number=number, synced_at=MORNING)

    assert rows(engine) == [{"id": 1, "n": "x"}, {"id": 2, "n": None}]


def test_as_many_fields_as_a_table_holds(engine: Engine) -> None:
    begin(engine, ORDERS)
    fields = [f"f{n}" for n in range(MOST_FIELDS - 1)]
    write(engine, ORDERS, [{"id": 1, **dict.fromkeys(fields)}])
    write(engine, ORDERS, [{"id": 1, **dict.fromkeys(fields, True)}])

    assert rows(engine) == [{"id": 1, **dict.fromkeys(fields, True)}]

    more = {"id": 2, "one more": [1], "and more": None}
    assert write(engine, ORDERS, [more]) == Counts(inserted=1, misfits=1)
    assert {name: value for name, value in rows(engine)[1].items() if value is not None} == {
        "id": 2,
        "one more": [1],
    }


def test_a_page_for_a_pass_that_was_never_begun(engine: Engine) -> None:
    with pytest.raises(SnapshotError, match="Begin the download again"):
        write(engine, ORDERS, [{"id": 1}])

    begin(engine, ORDERS)
    with pytest.raises(SnapshotError, match="pass 2 was never begun"):
        write(engine, ORDERS, [{"id": 1}], number=2)
    with pytest.raises(SnapshotError, match="pass 2 was never begun"):
        finish(engine, ORDERS, number=2)
