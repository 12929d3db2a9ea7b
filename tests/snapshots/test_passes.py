import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Connection, Engine, inspect, text

from milepost.errors import SnapshotError
from milepost.snapshots import (
    Mode,
    TableSpec,
    begin_pass,
    list_tables,
    read_rows,
    withdraw_pass,
    write_page,
)
from milepost.store.database import Database
from tests.snapshots.destinations import (
    LOG,
    MORNING,
    NOON,
    ORDERS,
    RATES,
    begin,
    finish,
    kinds,
    rows,
    summary,
    whole_pass,
    write,
)


def marks(engine: Engine) -> dict[int, object]:
    return {row["id"]: row["_milepost_deleted_at"] for row in rows(engine, bookkeeping=True)}


def test_passes_are_counted_for_each_table(engine: Engine) -> None:
    assert [begin(engine, ORDERS), begin(engine, ORDERS), begin(engine, LOG)] == [1, 2, 1]


def test_a_row_the_pass_has_not_seen_is_marked_as_deleted(engine: Engine) -> None:
    whole_pass(engine, ORDERS, [{"id": 1}, {"id": 2}], [{"id": 3}])

    assert whole_pass(engine, ORDERS, [{"id": 2}]) == 2
    assert marks(engine) == {1: NOON, 2: None, 3: NOON}
    assert rows(engine, deleted=False) == [{"id": 2}]
    assert (summary(engine).rows, summary(engine).deleted) == (3, 2)


def test_a_mark_keeps_its_first_moment_and_is_counted_once(engine: Engine) -> None:
    whole_pass(engine, ORDERS, [{"id": 1}, {"id": 2}])
    whole_pass(engine, ORDERS, [{"id": 2}])
    number = begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 2}], number=number)

    assert finish(engine, ORDERS, number=number, at=NOON + timedelta(hours=1)) == 0
    assert marks(engine) == {1: NOON, 2: None}


def test_a_row_seen_again_loses_the_mark(engine: Engine) -> None:
    whole_pass(engine, ORDERS, [{"id": 1}])
    whole_pass(engine, ORDERS, [])
    assert marks(engine) == {1: NOON}

    whole_pass(engine, ORDERS, [{"id": 1}])
    assert marks(engine) == {1: None}


def test_an_interrupted_pass_goes_on_by_its_number(engine: Engine) -> None:
    whole_pass(engine, ORDERS, [{"id": 1}, {"id": 2}, {"id": 3}])
    number = begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1}], number=number)
    engine.dispose()
    write(engine, ORDERS, [{"id": 2}], number=number)

    assert finish(engine, ORDERS, number=number) == 1
    assert marks(engine) == {1: None, 2: None, 3: NOON}


def test_an_abandoned_pass_marks_nothing(engine: Engine) -> None:
    whole_pass(engine, ORDERS, [{"id": 1}, {"id": 2}])
    abandoned = begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1}], number=abandoned)

    assert whole_pass(engine, ORDERS, [{"id": 1}], [{"id": 2}]) == 0
    assert marks(engine) == {1: None, 2: None}


def test_finishing_twice_changes_nothing_more(engine: Engine) -> None:
    whole_pass(engine, ORDERS, [{"id": 1}])
    begin(engine, ORDERS)

    assert [finish(engine, ORDERS, number=2), finish(engine, ORDERS, number=2)] == [1, 0]


def test_twice_marks_what_the_complete_pass_before_has_not_seen_either(engine: Engine) -> None:
    whole_pass(engine, ORDERS, [{"id": 1}, {"id": 2}, {"id": 3}])
    whole_pass(engine, ORDERS, [{"id": 1}], twice=True)
    assert marks(engine) == {1: None, 2: None, 3: None}

    abandoned = begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 2}], number=abandoned)
    assert whole_pass(engine, ORDERS, [{"id": 1}], twice=True) == 1
    assert finish(engine, ORDERS, number=4, twice=True) == 0
    assert marks(engine) == {1: None, 2: None, 3: NOON}


def test_an_older_pass_that_still_runs_does_not_hide_what_a_newer_has_seen(engine: Engine) -> None:
    older, newer = begin(engine, ORDERS), begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": 1}], number=newer)
    write(engine, ORDERS, [{"id": 1}, {"id": 2}], number=older)

    assert finish(engine, ORDERS, number=older) == 0
    assert finish(engine, ORDERS, number=newer) == 1
    assert marks(engine) == {1: None, 2: NOON}


def test_replace_shows_the_old_rows_until_all_new_ones_are_there(engine: Engine) -> None:
    assert whole_pass(engine, RATES, [{"r": 1}, {"r": 2}]) == 0
    abandoned = begin(engine, RATES)
    write(engine, RATES, [{"r": 3}], number=abandoned)
    number = begin(engine, RATES)
    write(engine, RATES, [{"r": 4}], number=number)
    write(engine, RATES, [{"r": 4}, {"r": "four", "new": 1}], number=number)
    assert rows(engine, RATES) == [{"r": 1}, {"r": 2}]
    with pytest.raises(SnapshotError, match="another download has begun to replace it"):
        write(engine, RATES, [{"r": 3}], number=abandoned)

    assert finish(engine, RATES, number=abandoned) == 0
    assert finish(engine, RATES, number=number) == 2
    assert finish(engine, RATES, number=number) == 0
    new = [{"r": "4", "new": None}, {"r": "4", "new": None}, {"r": "four", "new": 1}]
    assert rows(engine, RATES) == new
    assert whole_pass(engine, RATES) == 3
    assert rows(engine, RATES) == []
    with engine.begin() as conn:
        assert [table.relation for table in list_tables(conn)] == ["rates"]
        assert not inspect(conn).has_table("rates_coming")


def test_replace_keeps_what_others_have_attached(engine: Engine) -> None:
    whole_pass(engine, RATES, [{"r": 1, "s": 1}])
    with engine.begin() as conn:
        conn.execute(text("CREATE INDEX by_r ON rates (r)"))
        conn.execute(text("CREATE VIEW shown AS SELECT r FROM rates"))

    whole_pass(engine, RATES, [{"r": 2, "t": "x"}])

    with engine.begin() as conn:
        assert conn.execute(text("SELECT * FROM shown")).all() == [(2,)]
        assert index_names(conn, "rates") == ["by_r"]
    assert rows(engine, RATES) == [{"r": 2, "t": "x"}]


def index_names(conn: Connection, table: str) -> list[str]:
    if conn.dialect.name == "duckdb":  # its dialect cannot tell
        query = text("SELECT index_name FROM duckdb_indexes() WHERE table_name = :table")
        return [*conn.scalars(query, {"table": table})]
    return [str(index["name"]) for index in inspect(conn).get_indexes(table)]


def test_a_replacement_taken_back_leaves_the_old_rows(engine: Engine) -> None:
    whole_pass(engine, RATES, [{"r": 1}])
    number = begin(engine, RATES)
    write(engine, RATES, [{"r": 2}, {"r": 3}], number=number)
    with engine.begin() as conn:
        assert withdraw_pass(conn, RATES, number) == 2

    assert rows(engine, RATES) == [{"r": 1}]
    assert whole_pass(engine, RATES, [{"r": 4}]) == 1


def test_append_never_deletes(engine: Engine) -> None:
    whole_pass(engine, LOG, [{"m": 1}])

    assert whole_pass(engine, LOG, [{"m": 2}]) == 0
    assert [row["m"] for row in rows(engine, LOG)] == [1, 2]


@pytest.mark.parametrize("table", [ORDERS, LOG, RATES], ids=lambda table: table.mode)
def test_an_empty_source_leaves_an_empty_table(engine: Engine, table: TableSpec) -> None:
    assert whole_pass(engine, table) == 0
    assert rows(engine, table) == []
    assert summary(engine, table).rows == 0
    with engine.begin() as conn:
        assert conn.execute(text(f"SELECT * FROM {table.name}")).all() == []

    whole_pass(engine, table, [{"id": 5, "n": "x"}])
    assert rows(engine, table) == [{"id": 5, "n": "x"}]


def test_another_key_is_refused_with_what_to_do(engine: Engine) -> None:
    whole_pass(engine, ORDERS, [{"id": 1}])

    for other in (TableSpec("orders", ("number",)), TableSpec("orders", (), "append")):
        with pytest.raises(SnapshotError, match=r"told apart by 'id'.*drop the table 'orders'"):
            begin(engine, other)
        with pytest.raises(SnapshotError, match="told apart by 'id'"):
            write(engine, other, [{"number": 1}])


@pytest.mark.parametrize(
    "other", [TableSpec("orders", ("number",)), TableSpec("orders", (), "append")]
)
def test_a_table_without_rows_begins_anew_with_another_key(
    engine: Engine, other: TableSpec
) -> None:
    whole_pass(engine, ORDERS)

    whole_pass(engine, other, [{"number": "A1"}])

    assert rows(engine, other) == [{"number": "A1"}]
    assert kinds(engine, other) == {"number": "text"}


def test_a_row_marked_as_deleted_still_holds_the_key(engine: Engine) -> None:
    whole_pass(engine, ORDERS, [{"id": 1}])
    whole_pass(engine, ORDERS)

    with pytest.raises(SnapshotError, match="told apart by 'id'"):
        begin(engine, TableSpec("orders", ("number",)))


def test_a_table_that_somebody_dropped_begins_anew(engine: Engine) -> None:
    whole_pass(engine, ORDERS, [{"id": 1, "old": "x"}])
    with engine.begin() as conn:
        conn.execute(text("DROP TABLE orders"))

    other = TableSpec("orders", ("number",))
    whole_pass(engine, other, [{"number": "A1"}])

    assert rows(engine, other) == [{"number": "A1"}]
    assert kinds(engine, other) == {"number": "text"}


@pytest.mark.parametrize(
    "made", ["CREATE TABLE orders (id int)", "CREATE VIEW orders AS SELECT 1 AS id"]
)
def test_a_table_that_is_not_ours_is_left_alone(engine: Engine, made: str) -> None:
    with engine.begin() as conn:
        conn.execute(text(made))

    with pytest.raises(SnapshotError, match="that Milepost did not make"):
        begin(engine, ORDERS)
    with engine.begin() as conn:
        assert list_tables(conn) == []


@pytest.mark.parametrize(
    ("key", "mode", "reason"),
    [
        ((), "upsert", "upsert needs a key"),
        (("id",), "append", "append takes no key"),
        (("id",), "replace", "replace takes no key"),
        (("id", "id"), "upsert", "names a field twice"),
    ],
)
def test_a_table_must_make_sense(key: tuple[str, ...], mode: Mode, reason: str) -> None:
    with pytest.raises(SnapshotError, match=reason):
        TableSpec("orders", key, mode)


def test_reading_what_is_not_there(engine: Engine) -> None:
    with engine.begin() as conn:
        assert list_tables(conn) == []
        with pytest.raises(SnapshotError, match="there are: none"):
            read_rows(conn, "orders")

    begin(engine, LOG)
    with engine.begin() as conn, pytest.raises(SnapshotError, match="there are: log"):
        read_rows(conn, "orders")


def test_reading_some_rows(engine: Engine) -> None:
    begin(engine, ORDERS)
    write(engine, ORDERS, [{"id": number} for number in (3, 1, 2)])

    assert rows(engine, limit=2) == [{"id": 1}, {"id": 2}]
    assert rows(engine, limit=0) == []


@pytest.mark.parametrize("round_", range(3))
def test_many_begin_at_once(engine: Engine, round_: int) -> None:
    tables = [ORDERS, LOG, TableSpec("Orders", ("id",))]
    database = Database(engine)
    numbers: list[tuple[str, int]] = []
    together = threading.Barrier(9)

    def one(table: TableSpec) -> None:
        together.wait()
        with database.begin() as conn:
            numbers.append((table.name, begin_pass(conn, table)))

    in_threads([partial(one, table) for table in tables * 3])

    assert sorted(numbers) == sorted((table.name, n) for table in tables for n in (1, 2, 3))
    with engine.begin() as conn:
        assert len({table.relation.casefold() for table in list_tables(conn)}) == 3


def test_two_writers_of_one_table_take_turns(engine: Engine) -> None:
    begin(engine, ORDERS)
    database = Database(engine)
    together = threading.Barrier(4)

    def write_some(writer: int) -> None:
        together.wait()
        for number in range(10):
            value = [1, 1.5, "x", {}][(number + writer) % 4]
            with database.begin() as conn:
                page = [{"id": number * 4 + writer, "x": value, f"own {writer}": number}]
                write_page(conn, ORDERS, page, pass_number=1, synced_at=MORNING)

    in_threads([partial(write_some, writer) for writer in range(4)])

    found = rows(engine)
    assert [row["id"] for row in found] == list(range(40))
    assert all(row[f"own {row['id'] % 4}"] == row["id"] // 4 for row in found)


def in_threads(works: list[Callable[[], object]]) -> None:
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert not any(thread.is_alive() for thread in threads)


def test_nothing_is_committed_here(engine: Engine) -> None:
    with engine.connect() as conn:
        begin_pass(conn, ORDERS)
        write_page(conn, ORDERS, [{"id": 1}], pass_number=1, synced_at=MORNING)
        conn.rollback()

    with engine.begin() as conn:
        assert list_tables(conn) == []
    assert begin(engine, ORDERS) == 1
