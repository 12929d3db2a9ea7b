"""What the tests do with a destination, in whole transactions."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from milepost.snapshots import (
    Counts,
    Kind,
    Prepared,
    TableSpec,
    TableSummary,
    begin_pass,
    finish_pass,
    list_tables,
    read_rows,
    write_page,
)
from milepost.snapshots.reading import layout_of

MORNING = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)

ORDERS = TableSpec("orders", ("id",))
LOG = TableSpec("log", (), "append")
RATES = TableSpec("rates", (), "replace")

Page = Sequence[Mapping[str, Any]]


def begin(engine: Engine, table: TableSpec) -> int:
    with engine.begin() as conn:
        return begin_pass(conn, table)


def write(
    engine: Engine,
    table: TableSpec,
    page: Page,
    *,
    number: int = 1,
    prepared: Prepared | None = None,
) -> Counts:
    with engine.begin() as conn:
        return write_page(
            conn, table, page, pass_number=number, synced_at=MORNING, prepared=prepared
        )


def finish(
    engine: Engine,
    table: TableSpec,
    *,
    number: int = 1,
    at: datetime = NOON,
    twice: bool = False,
) -> int:
    with engine.begin() as conn:
        return finish_pass(conn, table, number, at=at, twice=twice)


def whole_pass(engine: Engine, table: TableSpec, *pages: Page, twice: bool = False) -> int:
    number = begin(engine, table)
    for page in pages:
        write(engine, table, page, number=number)
    return finish(engine, table, number=number, twice=twice)


def rows(engine: Engine, table: TableSpec = ORDERS, **options: Any) -> list[dict[str, Any]]:
    with engine.begin() as conn:
        return read_rows(conn, table.name, **options)


def summary(engine: Engine, table: TableSpec = ORDERS) -> TableSummary:
    with engine.begin() as conn:
        [found] = [each for each in list_tables(conn) if each.name == table.name]
    return found


def kinds(engine: Engine, table: TableSpec = ORDERS) -> dict[str, Kind]:
    with engine.begin() as conn:
        return {column.field: column.kind for column in layout_of(conn, table.name).columns}
