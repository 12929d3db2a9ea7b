import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, text

from milepost.snapshots import (
    Counts,
    Kind,
    TableSpec,
    begin_pass,
    read_rows,
    write_page,
)
from tests.snapshots.destinations import ORDERS, Page, begin, finish, kinds, rows, summary, write

SAMPLES: dict[Kind, list[Any]] = {
    Kind.INTEGER: [0, 5, -7, 2**53, -(2**53)],
    Kind.FLOAT: [1.5, 5.0, 0.1, -2.5e-7, 1e15, 1234567890123456.8, 1e16, 1e23, 1e300, 0.0001],
    Kind.BOOLEAN: [True, False],
    Kind.TIMESTAMP: [
        "2024-05-06T07:08:09Z",
        "2024-05-06T07:08:09.120Z",
        "2024-05-06T07:08:09.000001+00:00",
        "2024-05-06T07:08:10+05:30",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
    ],
    Kind.TEXT: ["", "007", "x'\"\\y", "true", "2024-05-06", "🚲"],
    Kind.JSON: [{"a": [1, None, "x"]}, [], {}, [1.5, True]],
}

numbers = itertools.count()

AFTER: dict[frozenset[Kind], Kind] = {
    frozenset({Kind.INTEGER, Kind.FLOAT}): Kind.FLOAT,
}


def wider(before: Kind, after: Kind) -> Kind:
    if Kind.JSON in {before, after}:
        return Kind.JSON
    if before is after:
        return before
    return AFTER.get(frozenset({before, after}), Kind.TEXT)


def same(read: Any, wrote: Any, kind: Kind) -> bool:
    """Whether a value reads back as a column of that kind promises."""
    if wrote is None:
        return read is None
    moment = isinstance(wrote, str) and wrote in SAMPLES[Kind.TIMESTAMP]
    if kind is Kind.TIMESTAMP or (moment and kind in {Kind.TEXT, Kind.JSON}):
        found = datetime.fromisoformat(read) if isinstance(read, str) else read
        return bool(found == datetime.fromisoformat(wrote))
    if kind is Kind.TEXT and isinstance(wrote, float) and abs(wrote) >= 1e15:
        return float(read) == wrote
    if kind is Kind.TEXT:
        return bool(read == (wrote if isinstance(wrote, str) else json.dumps(wrote)))
    if kind is Kind.JSON and isinstance(wrote, float):
        return float(read) == wrote
    return bool(read == wrote) and isinstance(read, bool) == isinstance(wrote, bool)


@pytest.mark.parametrize("at_once", [False, True], ids=["later", "at once"])
def test_no_value_is_lost_between_any_two_kinds(engine: Engine, at_once: bool) -> None:
    pairs = {f"{before} {after}": (before, after) for before in SAMPLES for after in SAMPLES}
    # A field for each pair; the page after the border has the other kind.
    border = max(map(len, SAMPLES.values())) + 1
    records: list[dict[str, Any]] = [{"id": n, "y": -n} for n in range(2 * border)]
    for field, (before, after) in pairs.items():
        for first, values in ((0, SAMPLES[before]), (border, SAMPLES[after])):
            for number, value in enumerate(values):
                records[first + number][field] = value
    begin(engine, ORDERS)

    for page in [records] if at_once else [records[:border], records[border:]]:
        write(engine, ORDERS, page)

    wanted = {field: wider(*pair) for field, pair in pairs.items()}
    assert kinds(engine) == {"id": Kind.INTEGER, "y": Kind.INTEGER, **wanted}
    for record, row in zip(records, rows(engine), strict=True):
        assert (row["id"], row["y"]) == (record["id"], record["y"])
        for field, kind in wanted.items():
            assert same(row[field], record.get(field), kind), (field, record, row)


def test_text_says_the_same_whether_it_was_widened_or_new(engine: Engine) -> None:
    scalars = [*SAMPLES[Kind.INTEGER], *SAMPLES[Kind.BOOLEAN], 1.5, 5.0, 0.1, -2.5e-7]
    given = {f"a{number}": value for number, value in enumerate(scalars)}
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, **given}])
    write(engine, ORDERS, [{"id": 2, **dict.fromkeys(given, "x")}, {"id": 3, **given}])

    said = {field: json.dumps(value) for field, value in given.items()}
    assert rows(engine) == [
        {"id": 1, **said}, {"id": 2, **dict.fromkeys(given, "x")}, {"id": 3, **said}
    ]  # fmt: skip


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=50, max_size=200))
def test_any_float_becomes_the_text_that_python_writes(engine: Engine, values: list[float]) -> None:
    table = TableSpec(f"floats {next(numbers)}", (), "append")
    begin(engine, table)
    write(engine, table, [{"n": n, "x": value} for n, value in enumerate(values)])
    write(engine, table, [{"n": -1, "x": "x"}])

    found = {row["n"]: row["x"] for row in rows(engine, table)}
    for number, value in enumerate(values):
        # SQLite has no negative zero; from 1e15 on PostgreSQL writes other digits.
        exact = value != 0 and abs(value) < 1e15
        assert found[number] == repr(value) if exact else float(found[number]) == value


def test_integers_that_a_float_cannot_hold_become_text(engine: Engine) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "old": 2**53 + 1, "new": 1.5, "mixed": 1.5}])
    write(engine, ORDERS, [{"id": 2, "old": 1.5, "new": -(2**53) - 1, "mixed": 2}])

    assert rows(engine) == [
        {"id": 1, "old": "9007199254740993", "new": "1.5", "mixed": 1.5},
        {"id": 2, "old": "1.5", "new": "-9007199254740993", "mixed": 2.0},
    ]


@pytest.mark.parametrize("huge", [2**63, -(2**63) - 1, 10**40])
def test_integers_beyond_64_bits_become_text(engine: Engine, huge: int) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "x": 3}])
    write(engine, ORDERS, [{"id": 2, "x": huge}, {"id": 3, "x": 4}])

    assert [row["x"] for row in rows(engine)] == ["3", str(huge), "4"]


def test_what_is_no_moment_makes_a_timestamp_column_text(engine: Engine) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "at": "2024-05-06T07:08:09.5+02:00"}])
    assert kinds(engine)["at"] is Kind.TIMESTAMP

    write(engine, ORDERS, [{"id": 2, "at": "soon"}, {"id": 3, "at": "2024-05-06T07:08:09Z"}])

    assert kinds(engine)["at"] is Kind.TEXT
    first, second, third = (row["at"] for row in rows(engine))
    assert datetime.fromisoformat(first) == datetime(2024, 5, 6, 5, 8, 9, 500_000, tzinfo=UTC)
    assert second == "soon"
    assert third == "2024-05-06T07:08:09Z"


def test_sqlite_keeps_the_text_of_a_timestamp() -> None:
    written = "2024-05-06T07:08:09.50+02:00"
    with create_engine("sqlite://").begin() as conn:
        for number, page in enumerate([[{"at": written}], [{"at": "soon"}]], 1):
            begin_pass(conn, TableSpec("log", (), "append"))
            at = datetime.now(UTC)
            spec = TableSpec("log", (), "append")
            write_page(conn, spec, page, pass_number=number, synced_at=at)
        assert [row["at"] for row in read_rows(conn, "log")] == [written, "soon"]


@pytest.mark.parametrize(
    ("first", "second", "texts"),
    [
        ([1, 2], ["2", "x"], ["1", "2", "x"]),
        ([1, 2], [2.5, 2], ["1", "2", "2.5"]),
        ([1, 2], [2**70, 2], ["1", "1180591620717411303424", "2"]),
        ([1, 2], [True, 1], ["1", "2", "true"]),
        ([1.0, 2.5], ["x", 1.0], ["1.0", "2.5", "x"]),
        (
            ["2024-05-06T07:08:09Z"],
            ["2024-05-06T07:08:09+00:00"],
            ["2024-05-06T07:08:09+00:00", "2024-05-06T07:08:09Z"],
        ),
    ],
)
def test_a_key_widens_and_still_finds_its_rows(
    engine: Engine, first: list[Any], second: list[Any], texts: list[str]
) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": key, "n": 1} for key in first])
    write(engine, ORDERS, [{"id": key, "n": 2} for key in second])

    assert sorted(row["id"] for row in rows(engine)) == texts
    assert kinds(engine)["id"] is Kind.TEXT

    # The unique index is still there: the same keys, once more, are no new rows.
    write(engine, ORDERS, [{"id": key, "n": 3} for key in [*first, *second]][::-1])
    assert [row["n"] for row in rows(engine)] == [3] * len(texts)


def test_the_key_of_a_table_that_was_empty_takes_its_kind_later(engine: Engine) -> None:
    begin(engine, ORDERS)
    finish(engine, ORDERS)
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 3, "n": 1}, {"id": 20, "n": 1}], number=2)
    write(engine, ORDERS, [{"id": 3, "n": 2}], number=2)

    assert rows(engine) == [{"id": 3, "n": 2}, {"id": 20, "n": 1}]
    assert kinds(engine)["id"] is Kind.INTEGER


def test_several_columns_widen_at_once(engine: Engine) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "a": 1, "b": True, "c": None, "d": "x", "e": 1}])
    write(engine, ORDERS, [{"id": 2, "a": 1.5, "b": 1, "c": 7, "d": {}, "e": 2, "f": "new"}])

    assert rows(engine) == [
        {"id": 1, "a": 1.0, "b": "true", "c": None, "d": "x", "e": 1, "f": None},
        {"id": 2, "a": 1.5, "b": "1", "c": 7, "d": {}, "e": 2, "f": "new"},
    ]


def test_the_marks_of_a_row_survive_widening(engine: Engine) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "a": 1}])
    begin(engine, ORDERS)
    finish(engine, ORDERS, number=2)
    before = rows(engine, bookkeeping=True)
    write(engine, ORDERS, [{"id": 2, "a": "x"}], number=2)

    assert before[0]["_milepost_deleted_at"] is not None
    assert rows(engine, bookkeeping=True)[0] == {**before[0], "a": "1"}


def test_indexes_and_triggers_of_other_people_survive_widening(engine: Engine) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "a": 1, "b": "x"}])
    with engine.begin() as conn:
        conn.execute(text("CREATE UNIQUE INDEX only_one ON orders (b)"))
    write(engine, ORDERS, [{"id": 1, "a": "x", "b": "y"}])

    with engine.connect() as conn, pytest.raises(Exception, match=r"(?i)unique"):
        conn.execute(
            text(
                "INSERT INTO orders (b, _milepost_pass, _milepost_first_pass, "
                "_milepost_synced_at, _milepost_hash) VALUES ('y', 1, 1, :at, 0)"
            ),
            {"at": datetime.now(UTC).isoformat()},
        )


def test_a_view_survives_what_its_columns_cannot_hold(engine: Engine) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "a": 1, "b": None}])
    with engine.begin() as conn:
        conn.execute(text("CREATE VIEW seen AS SELECT id, a, b FROM orders"))

    page: Page = [{"id": 1, "a": "x", "b": 5, "new": 1}, {"id": 2, "a": 7}, {"id": 3, "a": 2**70}]
    written = write(engine, ORDERS, page)

    held = engine.dialect.name == "postgresql"
    if held:
        assert rows(engine) == [{"new": None, "b": None, **record} for record in page]
    assert written == Counts(inserted=2, updated=1, misfits=3 if held else 0)
    with engine.begin() as conn:
        seen = conn.execute(text("SELECT a, b FROM seen ORDER BY id")).all()
        conn.execute(text("DROP VIEW seen"))
    if held:
        assert seen == [(None, None), (7, None), (None, None)]
        assert kinds(engine)["a"] is Kind.INTEGER
    else:
        assert seen == [("x", 5), ("7", None), (str(2**70), None)]

    # Without the view the column widens with the next page that needs it.
    write(engine, ORDERS, page)
    assert kinds(engine)["a"] is Kind.TEXT
    assert [row["a"] for row in rows(engine)] == ["x", "7", str(2**70)]


def test_a_table_keeps_its_own_types(engine: Engine) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "i": 1, "f": 1.0, "b": True, "t": "x", "j": []}])
    types = {
        "sqlite": ["integer", "real", "integer", "text", "text"],
        "postgresql": ["bigint", "double precision", "boolean", "text", "jsonb"],
        "duckdb": ["BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR", "JSON"],
    }[engine.dialect.name]
    function = "pg_typeof" if engine.dialect.name == "postgresql" else "typeof"
    with engine.begin() as conn:
        query = ", ".join(f"{function}({name})" for name in "ifbtj")
        assert list(conn.execute(text(f"SELECT {query} FROM orders")).one()) == types
    assert summary(engine).columns[1].name == "i"


def test_the_offset_decides_the_instant(engine: Engine) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1, "at": "2024-05-06T00:00:00-03:30"}])

    [row] = rows(engine)
    assert row["at"] == datetime(2024, 5, 6, 3, 30, tzinfo=UTC)
    assert row["at"].utcoffset() == timedelta(0)
