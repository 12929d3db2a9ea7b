"""Records that cannot be stored wait aside, with reason and place; nothing is dropped silently."""

from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text, update
from sqlalchemy.exc import DBAPIError

from milepost.errors import RecordRejected
from milepost.snapshots import (
    Counts,
    Quarantined,
    Replayed,
    TableSpec,
    read_entry,
    read_quarantine,
    replay,
    write_carefully,
    write_page,
)
from milepost.snapshots.quarantine import QUARANTINE
from tests.snapshots.destinations import LOG, MORNING, NOON, ORDERS, Page, begin, rows


def quarantined(engine: Engine, table: TableSpec = ORDERS) -> list[Quarantined]:
    with engine.begin() as conn:
        return read_quarantine(conn, table.name)


def written(engine: Engine, page: Page, *, limit: int = 10, first: int = 1) -> Counts:
    with engine.begin() as conn:
        return write_page(
            conn, ORDERS, page, pass_number=1, synced_at=MORNING, first=first,
            quarantine_limit=limit,
        )  # fmt: skip


def test_the_others_are_stored_and_it_is_kept_with_reason_and_place(engine: Engine) -> None:
    begin(engine, ORDERS)
    bad: Any = [{"id": None, "x": [1, "\0\ud800"]}, "no object", {"id": 4, "x": object()}]
    page = [{"id": 1}, bad[0], {"id": 2}, bad[1], bad[2], {"id": 3}]

    assert written(engine, page, first=101) == Counts(inserted=3, quarantined=3)

    assert [row["id"] for row in rows(engine)] == [1, 2, 3]
    found = quarantined(engine)
    assert [(one.position, one.field, one.record) for one in found] == [
        (102, "id", bad[0]),
        (104, None, bad[1]),
        (105, "x", None),
    ]
    assert [one.reason for one in found] == [
        "the key is null",
        "it is not an object but str",
        "object cannot be written as JSON",
    ]
    assert {(one.table, one.pass_number, one.at) for one in found} == {("orders", 1, MORNING)}


def test_past_the_limit_the_page_is_refused_as_a_whole(engine: Engine) -> None:
    begin(engine, ORDERS)
    written(engine, [{"id": 1}, {"id": None}, {}], limit=2)
    with pytest.raises(
        RecordRejected, match=r"missing; so 3 records of this pass.*quarantine_limit is 2"
    ):
        written(engine, [{"id": 2}, {}], limit=2)

    assert rows(engine) == [{"id": 1}]
    assert len(quarantined(engine)) == 2
    with engine.begin() as conn:
        assert read_entry(conn, "orders", 1).counts == Counts(inserted=1, quarantined=2)


def test_a_page_of_nothing_else(engine: Engine) -> None:
    begin(engine, ORDERS)

    assert written(engine, [{}, {}], limit=2) == Counts(quarantined=2)
    assert rows(engine) == []


def test_none_where_there_is_none(engine: Engine) -> None:
    assert quarantined(engine, LOG) == []
    begin(engine, LOG)
    assert quarantined(engine, LOG) == []


def replayed(engine: Engine) -> Replayed:
    with engine.begin() as conn:
        return replay(conn, "orders", at=NOON)


def test_what_is_mended_is_stored_and_counted_by_its_pass(engine: Engine) -> None:
    begin(engine, ORDERS)
    written(engine, [{"id": 1}, {"x": 1}, {"x": 2}, 5])  # type: ignore[list-item]
    assert replayed(engine) == Replayed(left=3)

    with engine.begin() as conn:
        # Somebody knows the key.
        conn.execute(
            update(QUARANTINE).where(QUARANTINE.c.position == 3).values(record='{"id": 9, "x": 2}')
        )
    assert replayed(engine) == Replayed(stored=1, left=2)

    assert rows(engine) == [{"id": 1, "x": None}, {"id": 9, "x": 2}]
    assert [each.position for each in quarantined(engine)] == [2, 4]
    with engine.begin() as conn:
        assert read_entry(conn, "orders", 1).counts == Counts(inserted=2, quarantined=2)


def test_a_version_that_came_since_is_not_overwritten(engine: Engine) -> None:
    begin(engine, ORDERS)
    written(engine, [{"id": "k" * 3000, "x": "old"}])
    with engine.begin() as conn:
        conn.execute(update(QUARANTINE).values(record='{"id": "k", "x": "old"}'))
    begin(engine, ORDERS)
    with engine.begin() as conn:
        page = [{"id": "k", "x": "new"}]
        write_page(conn, ORDERS, page, pass_number=2, synced_at=NOON)

    assert replayed(engine) == Replayed(superseded=1)
    assert rows(engine) == [{"id": "k", "x": "new"}]
    assert quarantined(engine) == []


def test_who_sets_records_aside_holds_the_table_until_the_commit(postgres_url: str) -> None:
    # Its numbers count on, so nobody else may count meanwhile.
    engine = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    begin(engine, ORDERS)
    written(engine, [{"id": 1, "n": 1}])
    with engine.begin() as conn:
        conn.execute(text("ALTER TABLE orders ADD CONSTRAINT small CHECK (n < 5)"))
    held = text("SELECT 1 FROM milepost_snapshot_tables FOR UPDATE NOWAIT")
    with engine.begin() as conn:
        counts = write_carefully(
            conn, ORDERS, [{"id": 2, "n": 9}], pass_number=1, synced_at=NOON, quarantine_limit=9
        )
        assert counts.quarantined == 1
        with engine.connect() as other, pytest.raises(DBAPIError, match="could not obtain lock"):
            other.execute(held)
    engine.dispose()
