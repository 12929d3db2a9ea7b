"""Any table, read in pages of any size with a stop after each, is the table, row by row."""

import asyncio
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.connectors.sql.bases import Base, records_of

numbers = itertools.count()
letters = st.sampled_from("aAbBäÄéz '\\%ß\t_0")
texts = st.text(letters, max_size=4)
integers = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
floats = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.sampled_from([0.1, -0.5])
doubles = st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda x: x == 0 or abs(x) > 1e-300
)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1))  # noqa: DTZ001
times = moments.map(lambda at: f"{at:%H:%M:%S}.{at.microsecond:06}")
octets = st.binary(min_size=1, max_size=3)
uuids = st.uuids().map(str)
# Among them some that are one and the same float.
decimals = st.decimals(-1000, 1000, places=6).map(str) | st.integers(10, 99).map(
    lambda n: f"12345678901234.0000{n}"
)
bits = st.integers(0, 1023)

TYPES: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "postgres": {
        "bigint": integers,
        "text": texts,
        'text COLLATE "en-x-icu"': texts,
        "text COLLATE blind": texts,
        "char(4)": texts,
        "real": floats,
        "double precision": doubles | st.sampled_from([float("inf"), float("-inf"), float("nan")]),
        "numeric": decimals,
        "timestamptz": moments.map(lambda at: at.replace(tzinfo=UTC)),
        "timestamp": moments,
        "time": times,
        "interval": st.integers(-(10**9), 10**9).map(lambda ms: timedelta(milliseconds=ms)),
        "uuid": uuids,
        "bytea": octets,
        "boolean": st.booleans(),
        "mood": st.sampled_from(["sad", "fine", "happy"]),
        "bigint[]": st.lists(integers, max_size=3),
    },
    "mariadb": {
        "bigint": integers,
        "bigint unsigned": st.integers(0, 2**64 - 1),
        "varchar(9) COLLATE utf8mb4_general_ci": texts,
        "varchar(9) COLLATE utf8mb4_unicode_ci": texts,
        "varchar(9) COLLATE utf8mb4_bin": texts,
        "varchar(9) CHARACTER SET latin1 COLLATE latin1_german2_ci": texts,
        "char(4)": texts,
        "float": floats,
        "double": doubles,
        "decimal(20,6)": decimals,
        "datetime(6)": moments | st.sampled_from(["0000-00-00", "2024-02-00"]),
        "timestamp(6)": moments,
        "time(6)": times | times.map(lambda time: f"-{time}"),
        "date": moments.map(lambda at: at.date()),
        "year": st.integers(1901, 2155),
        "uuid": uuids,
        "varbinary(9)": octets,
        "enum('z','a','m')": st.sampled_from("zam"),
        "set('z','a','m')": st.sampled_from(["", "z", "a,m", "z,m"]),
        "bit(10)": bits,
    },
    "sqlite": {
        "integer": integers,
        "int": integers,
        "text": texts,
        "text COLLATE NOCASE": texts,
        "real": doubles | st.sampled_from([float("inf"), float("-inf")]),
        "blob": octets,
        "": st.one_of(integers, doubles, texts, octets, st.none()),
        "numeric": st.one_of(integers, decimals, texts, st.none()),
    },
}
# What keeps a key: some rows are refused, which is the server's affair.
IGNORING = {"postgres": "ON CONFLICT DO NOTHING", "mariadb": "", "sqlite": ""}
INSERT = {"postgres": "INSERT", "mariadb": "INSERT IGNORE", "sqlite": "INSERT OR IGNORE"}

Rows = list[tuple[Any, ...]]


@st.composite
def tables(draw: Callable[..., Any], kind: str) -> tuple[list[str], Rows]:
    """The types of a key's columns, and keys."""
    types = draw(st.lists(st.sampled_from(list(TYPES[kind])), min_size=1, max_size=3))
    rows = draw(st.lists(st.tuples(*(TYPES[kind][each] for each in types)), max_size=24))
    # Few values, so that the columns have ties.
    if len(types) > 1 and rows:
        first = [row[0] for row in rows[:3]]
        rows = [(first[index % len(first)], *row[1:]) for index, row in enumerate(rows)]
    return types, rows


def create(base: Base, kind: str, types: list[str], rows: Rows, more: str = "") -> str:
    name = f"t{next(numbers)}"
    columns = ", ".join(f"k{index} {each}" for index, each in enumerate(types))
    key = ", ".join(f"k{index}" for index in range(len(types)))
    mode = "SET sql_mode = 'ALLOW_INVALID_DATES'"
    mark = "?" if kind == "sqlite" else "%s"
    with base.engine.begin() as conn:
        if kind == "mariadb":
            conn.exec_driver_sql(mode)
        conn.exec_driver_sql(
            f"CREATE TABLE {name} (n integer{more}, {columns}, PRIMARY KEY ({key}))"
        )
        marks = ", ".join([mark] * (len(types) + 1))
        for number, row in enumerate(rows):
            conn.exec_driver_sql(
                f"{INSERT[kind]} INTO {name} (n, {key}) VALUES ({marks}) {IGNORING[kind]}",
                (number, *row),
            )
    return name


def numbers_in(base: Base, table: str) -> list[int]:
    with base.engine.connect() as conn:
        return sorted(conn.exec_driver_sql(f"SELECT n FROM {table}").scalars())


def check_pages(base: Base, table: str, size: int) -> None:
    there = numbers_in(base, table)
    whole = asyncio.run(base.records(table, page_size=1000))
    assert sorted(record["n"] for record in whole) == there
    stopped = asyncio.run(base.stopping(table, page_size=size))
    assert records_of(stopped) == whole
    assert len(stopped) == max(1, -(-len(there) // size))
    assert records_of(asyncio.run(base.pages(table, page_size=size))) == whole


def quickly(examples: int) -> settings:
    return settings(
        max_examples=examples, deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )  # fmt: skip


@pytest.fixture
def prepared(base: Base) -> Base:
    if base.kind == "postgres":
        base.run(
            "CREATE TYPE mood AS ENUM ('sad', 'fine', 'happy')",
            "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level1', "
            "deterministic = false)",
        )
    return base


@quickly(12)
@given(data=st.data())
def test_a_table_in_pages_is_the_table(prepared: Base, data: st.DataObject) -> None:
    types, rows = data.draw(tables(prepared.kind))
    size = data.draw(st.integers(1, 7))
    check_pages(prepared, create(prepared, prepared.kind, types, rows), size)


def test_each_type_can_be_a_key(prepared: Base) -> None:
    @quickly(2)
    @given(data=st.data())
    def check(kind: str, data: st.DataObject) -> None:
        rows = data.draw(st.lists(st.tuples(TYPES[prepared.kind][kind]), min_size=4, max_size=8))
        check_pages(prepared, create(prepared, prepared.kind, [kind], rows), 2)

    for kind in TYPES[prepared.kind]:
        check(kind)


GROWING = {"postgres": "timestamptz(0)", "mariadb": "datetime", "sqlite": "text"}
BEGUN = datetime(2024, 5, 6, 7, 8, 9)  # noqa: DTZ001


def written(kind: str, second: int | None) -> Any:
    if second is None:
        return None
    at = BEGUN + timedelta(seconds=second)
    return at.replace(tzinfo=UTC) if kind == "postgres" else str(at)


@quickly(10)
@given(
    begun=st.lists(st.none() | st.integers(0, 3), max_size=12),
    later=st.lists(st.tuples(st.integers(0, 15), st.integers(3, 6)), max_size=8),
    size=st.integers(1, 5),
    look_back=st.sampled_from([0, 2]),
)
def test_two_passes_by_a_growing_column_are_the_table(
    base: Base, begun: list[int | None], later: list[tuple[int, int]], size: int, look_back: int
) -> None:
    table = f"g{next(numbers)}"
    kind = base.kind
    base.run(f"CREATE TABLE {table} (n integer PRIMARY KEY, changed {GROWING[kind]} NULL)")
    base.insert(table, [{"n": n, "changed": written(kind, at)} for n, at in enumerate(begun)])
    options = {"page_size": size, "incremental": {"*": "changed"}, "look_back": look_back}
    first = asyncio.run(base.stopping(table, **options))
    assert all(page.bookmark is None for page in first[:-1])

    seen = {record["n"]: record for record in records_of(first)}
    for n, at in later:
        mark = "?" if kind == "sqlite" else "%s"
        with base.engine.begin() as conn:
            conn.exec_driver_sql(f"DELETE FROM {table} WHERE n = {n}")
            conn.exec_driver_sql(f"INSERT INTO {table} VALUES ({n}, {mark})", (written(kind, at),))
    second = asyncio.run(base.stopping(table, first[-1].bookmark, **options))
    seen |= {record["n"]: record for record in records_of(second)}

    whole = asyncio.run(base.records(table))
    assert seen == {record["n"]: record for record in whole}
    # And no more than what may be new.
    newest = max((at for at in begun if at is not None), default=None)
    if newest is not None:
        least = written(kind, newest - look_back)
        bound = least.isoformat() if kind == "postgres" else str(least)
        changed = [record["changed"].replace("T", " ") for record in records_of(second)]
        assert all(each >= bound.replace("T", " ") for each in changed)
