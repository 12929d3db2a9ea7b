"""What happens to a row whose key is there already: the same in both databases."""

from typing import Final

from milepost.snapshots.kinds import Kind
from milepost.snapshots.layout import Layout
from milepost.snapshots.names import DELETED_AT, SEEN_IN, SYNCED_AT, quoted

STORED: Final = "stored"
"""The alias of the table in an INSERT: a table may be named "excluded"."""


def on_conflict(layout: Layout, *, greatest: str) -> str:
    """Write the ON CONFLICT clause; `greatest` is the database's function of that name."""
    if not layout.key:
        return ""
    # An undecided column is null in every row, and stays so.
    names = [quoted(column.name) for column in layout.columns if column.kind is not Kind.UNDECIDED]
    changes = [
        *(f"{name} = excluded.{name}" for name in names),
        # An older pass that still runs must not hide that a newer one has seen the row.
        f"{SEEN_IN} = {greatest}({STORED}.{SEEN_IN}, excluded.{SEEN_IN})",
        f"{SYNCED_AT} = excluded.{SYNCED_AT}",
        f"{DELETED_AT} = NULL",
    ]
    key = ", ".join(map(quoted, layout.key_columns))
    return f"ON CONFLICT ({key}) DO UPDATE SET {', '.join(changes)}"
