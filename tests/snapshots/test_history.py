"""Older versions of a row, each with the time for which it held."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, inspect

from milepost.errors import SnapshotError
from milepost.snapshots import (
    TableSpec,
    Version,
    begin_pass,
    finish_pass,
    list_tables,
    read_changes,
    read_versions,
    write_page,
)

PRICES = TableSpec("prices", ("sku",), history=True)


def days() -> Iterator[datetime]:
    day = datetime(2024, 5, 1, tzinfo=UTC)
    while True:
        yield day
        day += timedelta(days=1)


def sync(engine: Engine, at: datetime, *records: dict[str, Any], table: TableSpec = PRICES) -> None:
    with engine.begin() as conn:
        number = begin_pass(conn, table)
        for record in records:
            write_page(conn, table, [record], pass_number=number, synced_at=at)
        finish_pass(conn, table, number, at=at)


def versions(engine: Engine, *key: Any) -> list[Version]:
    with engine.begin() as conn:
        return read_versions(conn, "prices", key or None)


def test_every_change_leaves_the_version_before(engine: Engine) -> None:
    day = days()
    one, two, three, four, five = (next(day) for _ in range(5))
    sync(engine, one, {"sku": "a", "price": 1}, {"sku": "b", "price": 9})
    sync(engine, two, {"sku": "a", "price": 1}, {"sku": "b", "price": 9})
    sync(engine, three, {"sku": "a", "price": 2.5, "new": "x"}, {"sku": "b", "price": 9})
    sync(engine, four, {"sku": "b", "price": 9})
    sync(engine, five, {"sku": "a", "price": "much"}, {"sku": "b", "price": 9})

    assert versions(engine, "a") == [
        Version({"sku": "a", "price": "1.0", "new": None}, one, three),
        Version({"sku": "a", "price": "2.5", "new": "x"}, three, four),
        Version({"sku": "a", "price": "much", "new": None}, five, None),
    ]
    assert versions(engine, "b") == [Version({"sku": "b", "price": "9.0", "new": None}, one, None)]
    assert len(versions(engine)) == 4
    with engine.begin() as conn:
        assert [table.name for table in list_tables(conn)] == ["prices"]


def test_a_row_that_comes_back_was_not_there_meanwhile(engine: Engine) -> None:
    day = days()
    one, two, three = (next(day) for _ in range(3))
    sync(engine, one, {"sku": "a"})
    sync(engine, two)
    assert versions(engine) == [Version({"sku": "a"}, one, two)]
    sync(engine, three, {"sku": "a"})

    assert versions(engine) == [
        Version({"sku": "a"}, one, two), Version({"sku": "a"}, three, None)
    ]  # fmt: skip


def test_what_stood_beside_its_column_does_so_in_the_past(engine: Engine) -> None:
    one, two = list(zip(days(), range(2), strict=False))
    sync(engine, one[0], {"sku": "a", "price": float("inf")})
    sync(engine, two[0], {"sku": "a", "price": 1})

    assert [version.record["price"] for version in versions(engine)] == [float("inf"), 1]


def test_a_history_begins_where_it_is_asked_for(engine: Engine) -> None:
    plain = TableSpec("prices", ("sku",))
    day = days()
    sync(engine, next(day), {"sku": "a", "price": 1}, table=plain)
    sync(engine, next(day), {"sku": "a", "price": 2}, table=plain)
    with engine.begin() as conn:
        assert not inspect(conn).has_table("prices_history")
    since = next(day)
    sync(engine, since, {"sku": "a", "price": 3})

    assert [(v.record["price"], v.until) for v in versions(engine)] == [(2, since), (3, None)]


def test_only_what_has_a_key_has_a_history(engine: Engine) -> None:
    with pytest.raises(SnapshotError, match="without a key a row has no history"):
        TableSpec("log", (), "append", history=True)
    sync(engine, datetime.now(UTC), {"sku": "a"})
    with pytest.raises(SnapshotError, match="2 values are no key of it, which has sku"):
        versions(engine, "a", "b")


def test_what_a_pass_has_changed_is_told_with_what_was_before(engine: Engine) -> None:
    def sync_now(*records: dict[str, Any]) -> None:
        with engine.begin() as conn:
            number = begin_pass(conn, PRICES)
            at = datetime.now(UTC)
            write_page(conn, PRICES, records, pass_number=number, synced_at=at)
            finish_pass(conn, PRICES, number, at=at)

    before = [{"sku": sku, "price": n} for n, sku in enumerate("abcdef")]
    sync_now(*before)
    sync_now(*before[:5])
    # Two that change, one that goes, one that comes back, one that comes.
    after = [{"sku": "a", "price": 7}, {"sku": "b", "price": 8}, *before[2:4], before[5]]
    sync_now(*after, {"sku": "g", "price": 9})

    def told(since: int | None) -> list[tuple[str, str, int | None]]:
        with engine.begin() as conn:
            found = list(read_changes(conn, "prices", since=since))
        return [
            (each.what, each.record["sku"], each.before and each.before["price"]) for each in found
        ]

    changed: list[Any] = [("changed", "a", 0), ("changed", "b", 1), ("gone", "e", None)]
    assert told(None) == [*changed, ("changed", "f", 5), ("new", "g", None)]
    assert told(2) == told(None)
    assert {what for what, _, _ in told(1)} == {"new"}
