"""Which fields tell records apart, when nobody said so and when somebody did."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from milepost import open_database, snapshots
from milepost.downloads.keys import decide
from milepost.errors import SnapshotError
from milepost.snapshots import Mode, TableSpec
from milepost.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(str(tmp_path / "snapshot.db"))
    yield database
    database.close()


def decided(database: Database, *records: dict[str, Any], **asked: Any) -> Any:
    asked = {"key": None, "mode": None, "source_key": (), **asked}
    with database.read() as conn:
        return decide(conn, "orders", records, **asked)


def given_pass(database: Database, table: TableSpec, *records: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    with database.begin() as conn:
        number = snapshots.begin_pass(conn, table)
        snapshots.write_page(conn, table, records, pass_number=number, synced_at=now)
        snapshots.finish_pass(conn, table, number, at=now)


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_key_with_a_mode_that_takes_none_is_refused(database: Database, mode: Mode) -> None:
    with pytest.raises(SnapshotError, match=f"mode {mode}, which takes none"):
        decided(database, {"id": 1}, key=("id",), mode=mode)
    assert decided(database, {"id": 1}, mode=mode) == ((), mode)


def test_a_table_with_rows_keeps_its_key(database: Database) -> None:
    given_pass(database, TableSpec("orders", ("number",)), {"number": 1})
    assert decided(database, {"id": 1}) == (("number",), "upsert")


def test_a_table_without_rows_has_no_say(database: Database) -> None:
    given_pass(database, TableSpec("orders", ("id",)))
    with pytest.raises(SnapshotError, match="pass --key"):
        decided(database, {"number": 1})
    assert decided(database, {"number": 1}, key=("number",)) == (("number",), "upsert")
