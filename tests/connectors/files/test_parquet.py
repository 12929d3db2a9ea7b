"""Parquet: row groups, chosen columns, and values that lose nothing as JSON."""

import base64
import datetime as dt
import io
import json
import math
import tracemalloc
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from milepost.connectors.files.parquet_values import json_values
from milepost.errors import FatalConnectorError
from tests.connectors.files.reading import assert_resumes, pages, records, stored


def write(path: Path, table: pa.Table, **options: Any) -> Path:
    parquet.write_table(table, path, **options)
    return path


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, None, 2**64 - 1], pa.uint64()), [1, None, 2**64 - 1]),
        (pa.array([1.5, math.nan, math.inf, -math.inf]), [1.5, "NaN", "Infinity", "-Infinity"]),
        (pa.array([0.1], pa.float32()), [0.10000000149011612]),
        (pa.array([1.5, None], pa.float16()), [1.5, None]),
        (pa.array([Decimal("1.10"), None], pa.decimal128(38, 2)), ["1.10", None]),
        (pa.array([Decimal("1E+3")], pa.decimal256(60, 0)), ["1000"]),
        (pa.array([b"\x00\xff", None]), [base64.b64encode(b"\x00\xff").decode(), None]),
        (pa.array([b"ab"], pa.binary(2)), ["YWI="]),
        (pa.array([1_700_000_000_123_456_789, -1], pa.timestamp("ns")),
         ["2023-11-14T22:13:20.123456789", "1969-12-31T23:59:59.999999999"]),
        (pa.array([1], pa.timestamp("us", "Europe/Berlin")), ["1970-01-01T00:00:00.000001Z"]),
        (pa.array([1], pa.timestamp("s")), ["1970-01-01T00:00:01"]),
        (pa.array([dt.date(2024, 2, 29)]), ["2024-02-29"]),
        (pa.array([86_400_000], pa.date64()), ["1970-01-02"]),
        (pa.array([3_661_001], pa.time32("ms")), ["01:01:01.001"]),
        (pa.array([1], pa.time64("ns")), ["00:00:00.000000001"]),
        (pa.array([-1500, 0], pa.duration("ms")), ["-PT1.500S", "PT0.000S"]),
        (pa.array(["a", "b", "a", None]).dictionary_encode(), ["a", "b", "a", None]),
        (pa.array([[1, None], None, []]), [[1, None], None, []]),
        (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), [[1, 2], None]),
        (pa.array([{"a": [b"x"], "b": None}, None]), [{"a": ["eA=="], "b": None}, None]),
        (pa.array([[(1, "x"), (1, "y")], None], pa.map_(pa.int8(), pa.string())),
         [[{"key": 1, "value": "x"}, {"key": 1, "value": "y"}], None]),
        (pa.array([uuid.UUID(int=1).bytes, None], pa.uuid()),
         ["00000000-0000-0000-0000-000000000001", None]),
        (pa.nulls(2), [None, None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)  # fmt: skip
def test_values_lose_nothing(array: pa.Array, expected: list[Any]) -> None:
    assert json_values(array, "x") == expected
    # What is cut out of an array has its values at another place.
    assert json_values(pa.concat_arrays([array, array]).slice(1, len(array)), "x") == [
        *expected[1:], expected[0]
    ]  # fmt: skip
    json.dumps(json_values(array, "x"), allow_nan=False)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.none() | st.lists(st.none() | st.lists(st.none() | st.integers(0, 99)))))
def test_nested_lists_are_those_that_arrow_says(values: list[Any]) -> None:
    array = pa.array(values, pa.list_(pa.list_(pa.int64())))
    for begin in range(min(3, len(values) + 1)):
        assert json_values(array.slice(begin), "x") == values[begin:]


def test_what_json_has_no_value_for_is_named(tmp_path: Path) -> None:
    with pytest.raises(FatalConnectorError, match="x is of type month_day_nano_interval"):
        json_values(pa.array([pa.MonthDayNano([1, 2, 3])]), "x")
    with pytest.raises(FatalConnectorError, match="not between the years 1 and 9999"):
        json_values(pa.array([2**40], pa.timestamp("s")), "x")


async def test_it_resumes_at_every_page_of_every_size(tmp_path: Path) -> None:
    rows = [{"id": number, "n": {"list": [number]}} for number in range(40)]
    path = write(tmp_path / "x.parquet", pa.Table.from_pylist(rows), row_group_size=9)
    for size in (1, 4, 9, 10, 100):
        assert await assert_resumes(path, page_size=size) == rows
    [first, *_] = await pages(path, page_size=4)
    assert first.total == 40


async def test_only_the_columns_that_are_wanted_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", pa.table({"a": [1], "b": [2], "c": [{"d": 3, "e": 4}]}))
    assert await records(path, columns=["c", "a"]) == [{"a": 1, "c": {"d": 3, "e": 4}}]
    with pytest.raises(FatalConnectorError, match="has no column 'z'; it has a, b, c"):
        await pages(path, columns=["z"])
    (tmp_path / "x.csv").write_text("a\n1\n")
    with pytest.raises(FatalConnectorError, match="of Parquet files only"):
        await pages(tmp_path / "x.csv", columns=["a"])


async def test_what_is_no_parquet_says_so(tmp_path: Path) -> None:
    sink = io.BytesIO()
    parquet.write_table(pa.table({"a": list(range(1000))}), sink)
    whole = sink.getvalue()
    for bad in (b"", b"PAR1", whole[:-20], whole[:-8] + b"\xff\xff\xff\x7fPAR1", b"x" * 1000):
        (tmp_path / "x.parquet").write_bytes(bad)
        with pytest.raises(FatalConnectorError, match="is not Parquet"):
            await pages(tmp_path / "x.parquet")
    damaged = bytearray(whole)
    damaged[30:60] = b"\xff" * 30
    (tmp_path / "x.parquet").write_bytes(damaged)
    with pytest.raises(FatalConnectorError, match="row group 0"):
        await pages(tmp_path / "x.parquet")


async def test_a_row_group_is_not_taken_into_memory_as_a_whole(tmp_path: Path) -> None:
    table = pa.table(
        {"id": range(400_000), "text": [f"{number:0100d}" for number in range(400_000)]}
    )
    path = write(tmp_path / "x.parquet", table, row_group_size=400_000, use_dictionary=False)
    del table
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    [*_, last] = await pages(path, page_size=1000, most=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pa.default_memory_pool().max_memory() - before < 400_000_000
    assert peak < 60_000_000, peak
    [after] = await pages(path, stored(last), page_size=1000, most=1)
    assert after.records[0]["id"] == 3000
