"""Where records go: tables in SQLite, PostgreSQL or DuckDB that grow with what they are given."""

from milepost.snapshots.bookmarks import bookmark_of, leave_bookmark
from milepost.snapshots.changes import Change, read_changes
from milepost.snapshots.destination import destination_of
from milepost.snapshots.exporting import export
from milepost.snapshots.kinds import Kind
from milepost.snapshots.layout import Column, Mode, TableSpec
from milepost.snapshots.ledger import Counts, PassSummary, read_entries, read_entry
from milepost.snapshots.passes import (
    begin_pass,
    count_living,
    count_unseen,
    drop_table,
    end_pass,
    finish_pass,
    stored_key,
    withdraw_pass,
)
from milepost.snapshots.preparing import Prepared, Preparer
from milepost.snapshots.quarantine import Quarantined, read_quarantine
from milepost.snapshots.reading import (
    TableSummary,
    Version,
    each_row,
    list_tables,
    read_rows,
    read_versions,
)
from milepost.snapshots.replaying import Replayed, replay
from milepost.snapshots.writing import write_carefully, write_page

__all__ = [
    "Change",
    "Column",
    "Counts",
    "Kind",
    "Mode",
    "PassSummary",
    "Prepared",
    "Preparer",
    "Quarantined",
    "Replayed",
    "TableSpec",
    "TableSummary",
    "Version",
    "begin_pass",
    "bookmark_of",
    "count_living",
    "count_unseen",
    "destination_of",
    "drop_table",
    "each_row",
    "end_pass",
    "export",
    "finish_pass",
    "leave_bookmark",
    "list_tables",
    "read_changes",
    "read_entries",
    "read_entry",
    "read_quarantine",
    "read_rows",
    "read_versions",
    "replay",
    "stored_key",
    "withdraw_pass",
    "write_carefully",
    "write_page",
]
