"""A record that is as it was is not written again, and yet it was seen."""

from typing import Any

import pytest
from sqlalchemy import Engine, text

from milepost.snapshots import Counts, TableSpec
from tests.snapshots.destinations import NOON, ORDERS, begin, finish, rows, whole_pass, write

RECORDS: list[dict[str, Any]] = [
    {"id": number, "name": f"n {number}", "size": number / 8, "lines": [{"of": number}]}
    for number in range(20)
]


def passes(engine: Engine) -> list[tuple[int, int]]:
    return [
        (row["_milepost_first_pass"], row["_milepost_pass"])
        for row in rows(engine, bookkeeping=True)
    ]


def test_what_has_not_changed_is_not_written(engine: Engine) -> None:
    whole_pass(engine, ORDERS, RECORDS)
    begin(engine, ORDERS)
    changed = [*RECORDS[:5], *({**record, "size": None} for record in RECORDS[5:9])]
    page = [*changed, *RECORDS[9:12], {"id": 99}]

    assert write(engine, ORDERS, page, number=2) == Counts(inserted=1, updated=4, unchanged=8)

    assert passes(engine) == [*[(1, 1)] * 5, *[(1, 2)] * 4, *[(1, 1)] * 11, (2, 2)]
    assert finish(engine, ORDERS, number=2) == 8
    gone = [row["id"] for row in rows(engine, bookkeeping=True) if row["_milepost_deleted_at"]]
    assert gone == list(range(12, 20))


# Only PostgreSQL tells where a row's version stands.
@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_the_database_writes_no_row_again(engine: Engine) -> None:
    whole_pass(engine, ORDERS, RECORDS)
    versions = text("SELECT ctid, xmin, xmax FROM orders ORDER BY id")
    with engine.begin() as conn:
        before = conn.execute(versions).all()
    assert whole_pass(engine, ORDERS, RECORDS) == 0
    with engine.begin() as conn:
        assert conn.execute(versions).all() == before


@pytest.mark.parametrize(
    "again",
    [
        {"name": "n 3", "id": 3, "lines": [{"of": 3}], "size": 0.375},
        {"id": 3, "name": "n 3", "size": 0.375, "lines": [{"of": 3}], "later": None},
    ],
    ids=["in another order", "with a null more"],
)
def test_it_is_the_same_record(engine: Engine, again: dict[str, Any]) -> None:
    whole_pass(engine, ORDERS, RECORDS)
    begin(engine, ORDERS)

    assert write(engine, ORDERS, [again], number=2) == Counts(unchanged=1)


def test_a_new_field_changes_only_the_records_that_have_it(engine: Engine) -> None:
    whole_pass(engine, ORDERS, RECORDS)
    begin(engine, ORDERS)
    page = [RECORDS[0], {**RECORDS[1], "later": 1}, {**RECORDS[2], "later": None}]

    assert write(engine, ORDERS, page, number=2) == Counts(updated=1, unchanged=2)


def test_a_deleted_row_that_comes_back_as_it_was_is_written(engine: Engine) -> None:
    whole_pass(engine, ORDERS, RECORDS)
    whole_pass(engine, ORDERS, RECORDS[:5])
    begin(engine, ORDERS)

    assert write(engine, ORDERS, RECORDS[:7], number=3) == Counts(updated=2, unchanged=5)
    assert finish(engine, ORDERS, number=3) == 0
    assert [row["id"] for row in rows(engine, deleted=False)] == list(range(7))


def test_records_with_one_key_count_as_if_written_in_turn(engine: Engine) -> None:
    begin(engine, ORDERS)
    one, other = {"id": 1, "n": "a"}, {"id": 1, "n": "b"}

    assert write(engine, ORDERS, [one, one, other, one]) == Counts(
        inserted=1, updated=2, unchanged=1
    )
    assert write(engine, ORDERS, [other, one]) == Counts(updated=1, unchanged=1)
    assert rows(engine) == [one]


def test_a_row_seen_unchanged_by_the_pass_before_is_not_gone_twice(engine: Engine) -> None:
    whole_pass(engine, ORDERS, RECORDS[:3])
    assert whole_pass(engine, ORDERS, RECORDS[:3], twice=True) == 0
    assert whole_pass(engine, ORDERS, RECORDS[:2], twice=True) == 0
    assert whole_pass(engine, ORDERS, RECORDS[:2], twice=True) == 1


def test_a_key_of_several_fields_and_of_several_pages(engine: Engine) -> None:
    table = TableSpec("lines", ("a", "b"))
    page = [{"a": a, "b": b} for a in range(5) for b in ("x", "y'\\\"", "")]
    whole_pass(engine, table, page)
    assert whole_pass(engine, table, page[:8], page[8:]) == 0
    assert whole_pass(engine, table, page[:8], page[9:]) == 1
    [gone] = [
        row for row in rows(engine, table, bookkeeping=True) if row["_milepost_deleted_at"] == NOON
    ]
    assert {name: gone[name] for name in "ab"} == page[8]
