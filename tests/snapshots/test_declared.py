"""Columns that the source has declared."""

from sqlalchemy import Engine

from milepost.snapshots import Kind, TableSpec
from tests.snapshots.destinations import begin, finish, kinds, rows, write

DECLARED = TableSpec(
    "orders",
    ("id",),
    columns={
        "id": Kind.INTEGER, "at": Kind.TIMESTAMP, "price": Kind.FLOAT, "note": Kind.TEXT,
    },
)  # fmt: skip


def test_they_are_there_though_no_record_has_come(engine: Engine) -> None:
    begin(engine, DECLARED)
    finish(engine, DECLARED)
    assert kinds(engine) == dict(DECLARED.columns)


def test_they_are_there_though_no_record_has_a_value_in_them(engine: Engine) -> None:
    begin(engine, DECLARED)
    write(engine, DECLARED, [{"id": 1, "price": None, "extra": True}])
    assert kinds(engine) == {**DECLARED.columns, "extra": Kind.BOOLEAN}
    write(engine, DECLARED, [{"id": 2, "price": 5, "at": "2024-05-06T07:08:09Z"}])
    assert kinds(engine)["price"] is Kind.FLOAT
    assert [row["price"] for row in rows(engine)] == [None, 5.0]


def test_what_the_source_gives_counts_for_more_than_what_it_says(engine: Engine) -> None:
    begin(engine, DECLARED)
    write(engine, DECLARED, [{"id": 1, "price": "on request", "at": "soon"}, {"id": 2**63}])
    assert kinds(engine) == {
        "id": Kind.TEXT, "at": Kind.TEXT, "price": Kind.TEXT, "note": Kind.TEXT,
    }  # fmt: skip
    assert [row["at"] for row in rows(engine)] == ["soon", None]


def test_a_column_that_was_undecided_becomes_what_is_declared_now(engine: Engine) -> None:
    before = TableSpec("orders", ("id",))
    begin(engine, before)
    write(engine, before, [{"id": 1, "price": None}])
    assert kinds(engine)["price"] is Kind.UNDECIDED
    begin(engine, DECLARED)
    write(engine, DECLARED, [{"id": 1, "price": 2}], number=2)
    assert kinds(engine) == dict(DECLARED.columns)


def test_a_key_is_compared_as_the_source_wrote_it_whatever_it_declares(engine: Engine) -> None:
    table = TableSpec("moments", ("at",), columns={"at": Kind.TIMESTAMP})
    begin(engine, table)
    write(engine, table, [{"at": "2024-05-06T07:08:09Z"}, {"at": "2024-05-06T07:08:09+00:00"}])
    assert kinds(engine, table) == {"at": Kind.TEXT}
    assert len(rows(engine, table)) == 2


def test_a_replacement_has_them_too(engine: Engine) -> None:
    table = TableSpec("rates", mode="replace", columns={"r": Kind.FLOAT})
    number = begin(engine, table)
    finish(engine, table, number=number)
    assert kinds(engine, table) == {"r": Kind.FLOAT}
