"""Where records go: tables in SQLite or PostgreSQL that grow with what they are given."""

from milepost.snapshots.kinds import Kind
from milepost.snapshots.layout import Column, Mode, TableSpec
from milepost.snapshots.passes import (
    begin_pass,
    count_living,
    count_unseen,
    finish_pass,
    stored_key,
)
from milepost.snapshots.reading import TableSummary, list_tables, read_rows
from milepost.snapshots.writing import Written, write_page

__all__ = [
    "Column",
    "Kind",
    "Mode",
    "TableSpec",
    "TableSummary",
    "Written",
    "begin_pass",
    "count_living",
    "count_unseen",
    "finish_pass",
    "list_tables",
    "read_rows",
    "stored_key",
    "write_page",
]
