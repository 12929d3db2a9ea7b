import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import count
from math import inf, isnan, nan
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from milepost.snapshots import Kind, Preparer, TableSpec, destination_of
from tests.snapshots.destinations import begin, finish, kinds, rows, write
from tests.snapshots.test_names import NASTY

# A field's name holds no NUL and no surrogate: those are refused, and tested where refusing is.
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
texts = st.text(max_size=12)
# No text column holds these, and none of PostgreSQL's holds NUL.
odd = st.sampled_from([nan, inf, -inf, "\ud800", "a\udc00b", "\0", "a\0b"])
moments = st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat())
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10),
    st.integers(),
    st.integers(-(2**64), 2**64),
    st.floats(),
    texts,
    odd,
    moments,
    st.sampled_from(["007", "1", "true", "", "NaN", "2024-05-06T07:08:09Z"]),
)
values = st.one_of(
    scalars,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=5,
    ),
)
fields = st.one_of(st.sampled_from(["a", "A", "b", "c"]), st.sampled_from(NASTY), names)
records = st.builds(
    lambda others, number: {**others, "id": number},
    st.dictionaries(fields, values, max_size=5),
    st.integers(0, 6) | st.integers(),
)
pages = st.lists(st.lists(records, max_size=6), max_size=6)


def agrees(read: Any, wrote: Any, kind: Kind) -> bool:
    """Whether a value reads back as a column of that kind promises."""
    if wrote is None:
        return read is None
    if same_json(read, wrote):
        # What no column holds stands beside it, as it was.
        return True
    if isinstance(wrote, str):
        return bool(read == wrote) or same_moment(read, wrote)
    match kind:
        case Kind.TEXT if isinstance(wrote, float):
            return float(read) == wrote
        case Kind.TEXT:
            # A number may have been a float in between: 5 has become 5.0.
            return read == json.dumps(wrote) or (
                type(wrote) is int and read == repr(float(wrote)) and float(wrote) == wrote
            )
        case Kind.JSON:
            return same_json(read, wrote) or (
                not isinstance(wrote, (dict, list)) and agrees(read, wrote, Kind.TEXT)
            )
        case _:
            return bool(read == wrote) and isinstance(read, bool) == isinstance(wrote, bool)


def same_moment(read: Any, wrote: str) -> bool:
    try:
        moment = datetime.fromisoformat(read) if isinstance(read, str) else read
        return bool(moment == datetime.fromisoformat(wrote))
    except (TypeError, ValueError):
        return False


def same_json(read: Any, wrote: Any) -> bool:
    if isinstance(wrote, Mapping):
        return (
            isinstance(read, Mapping)
            and read.keys() == wrote.keys()
            and all(same_json(read[name], wrote[name]) for name in wrote)
        )
    if isinstance(wrote, Sequence) and not isinstance(wrote, str):
        return (
            isinstance(read, Sequence)
            and len(read) == len(wrote)
            and all(map(same_json, read, wrote))
        )
    if isinstance(wrote, float):
        return (
            isinstance(read, int | float)
            and not isinstance(read, bool)
            and (float(read) == wrote or (isnan(read) and isnan(wrote)))
        )
    return bool(read == wrote) and isinstance(read, bool) == isinstance(wrote, bool)


# A destination has the tables of all examples.
numbers = count()


def agree(engine: Engine, table: TableSpec, expected: Sequence[Mapping[str, Any]]) -> None:
    found = rows(engine, table)
    kind = kinds(engine, table)
    assert len(found) == len(expected)
    for read, wrote in zip(found, expected, strict=True):
        for field, value in read.items():
            assert agrees(value, wrote.get(field), kind[field]), (field, kind[field], value, wrote)
        assert wrote.keys() <= read.keys()


several = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@several
@given(pages=pages, ahead=st.booleans())
def test_whatever_is_written_can_be_read_back(
    engine: Engine, pages: list[list[dict[str, Any]]], ahead: bool
) -> None:
    table = TableSpec(f"table {next(numbers)}", ("id",))
    preparer = Preparer(table, destination_of(engine))
    expected: dict[int, dict[str, Any]] = {}
    begin(engine, table)
    for page in pages:
        ready = preparer.prepare(page) if ahead else None
        written = write(engine, table, page, prepared=ready)
        assert written.records == len(page)
        expected.update({record["id"]: record for record in page})
    finish(engine, table)

    huge = any(not -(2**63) <= number < 2**63 for number in expected)
    if huge:  # then the key is text, and so is its order
        assert sorted(int(row["id"]) for row in rows(engine, table)) == sorted(expected)
        agree(engine, table, [expected[int(row["id"])] for row in rows(engine, table)])
    else:
        agree(engine, table, [expected[number] for number in sorted(expected)])


@several
@given(passes=st.lists(st.sets(st.integers(0, 8)), max_size=5))
def test_the_rows_without_a_mark_are_those_of_the_last_pass(
    engine: Engine, passes: list[set[int]]
) -> None:
    table = TableSpec(f"table {next(numbers)}", ("id",))
    seen: set[int] = set()
    alive: set[int] = set()
    for ids in passes:
        number = begin(engine, table)
        write(engine, table, [{"id": each} for each in ids], number=number)
        assert finish(engine, table, number=number) == len(alive - ids)
        seen, alive = seen | ids, ids
        assert {row["id"] for row in rows(engine, table, deleted=False)} == alive
        assert {row["id"] for row in rows(engine, table)} == seen
