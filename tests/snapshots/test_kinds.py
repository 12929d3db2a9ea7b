import random
from math import nan
from typing import Any

import pytest

from milepost.snapshots.kinds import Kind, are_timestamps, join, json_texts
from milepost.snapshots.postgres_texts import array, lines


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-06T07:08:09Z",
        "2024-05-06T07:08:09.1Z",
        "2024-05-06T07:08:09.123456+02:00",
        "2024-02-29T23:59:59-11:30",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "1969-12-31T00:00:00+14:00",
    ],
)
def test_a_full_date_and_time_with_offset_is_a_timestamp(text: str) -> None:
    assert are_timestamps([text, "2024-05-06T07:08:09Z"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-05-06",
        "2024-05-06T07:08:09",
        "2024-05-06 07:08:09Z",
        "2024-05-06t07:08:09z",
        "2024-05-06T07:08Z",
        "2024-05-06T07:08:09.1234567Z",
        "2024-05-06T07:08:09.Z",
        "2024-05-06T07:08:60Z",
        "2024-05-06T24:00:00Z",
        "2024-02-30T07:08:09Z",
        "2023-02-29T07:08:09Z",
        "0000-01-01T00:00:00Z",
        "2024-05-06T07:08:09+0200",
        "2024-05-06T07:08:09+15:00",
        "2024-05-06T07:08:09+02:60",
        "20240506T070809Z",
        "2024-05-06T07:08:09Z\n",
        "٢٠٢٤-05-06T07:08:09Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_anything_else_is_text(text: str) -> None:
    assert not are_timestamps(["2024-05-06T07:08:09Z", text])


def test_the_order_of_joining_does_not_matter() -> None:
    for a in Kind:
        for b in Kind:
            for c in Kind:
                if Kind.INTEGER in {a, b, c} and Kind.FLOAT in {a, b, c}:
                    continue  # float first or text first: that one pair is decided by the values
                one = join({join({a, b}, floats=True), c}, floats=True)
                other = join({a, join({b, c}, floats=True)}, floats=True)
                assert one is other


def test_nothing_is_wider_than_json_or_narrower_than_undecided() -> None:
    for kind in Kind:
        assert join({kind, Kind.JSON}, floats=True) is Kind.JSON
        assert join({kind, Kind.UNDECIDED}, floats=True) is kind
        assert join({kind}, floats=False) is kind


def test_a_columns_json_is_the_json_of_each_value() -> None:
    values: list[Any] = [None, {"b": [1, nan], "a": "é,\u2028"}, [], 'a","b', 1.5, [[None]], 2**70]
    assert json_texts(values) == [
        None, '{"b":[1,NaN],"a":"é,\u2028"}', "[]", '"a\\",\\"b"', "1.5", "[[null]]", str(2**70)
    ]  # fmt: skip
    assert json_texts([]) == []
    assert json_texts([None]) == [None]


def test_numbers_and_booleans_are_written_as_postgresql_reads_them() -> None:
    chance = random.Random(7)
    floats = [chance.uniform(-1, 1) * 10.0 ** chance.randint(-300, 300) for _ in range(1000)]
    floats += [0.0, -0.0, 5.0, 1e16, 1e23, 5e-324, 1.7976931348623157e308]
    written = array(Kind.FLOAT, floats)
    assert list(map(float, written[1:-1].split(","))) == floats
    assert array(Kind.INTEGER, (-(2**63), None)) == "{-9223372036854775808,null}"
    assert array(Kind.BOOLEAN, [True, False]) == "{true,false}"
    columns = [(Kind.INTEGER, (1, None)), (Kind.BOOLEAN, [None, True]), (Kind.TEXT, ["null", "a"])]
    assert lines(columns) == "1\t\\N\tnull\n\\N\ttrue\ta\n"
