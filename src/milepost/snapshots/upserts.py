"""What happens to a row whose key is there already."""

from typing import Final

from milepost.snapshots.kinds import Kind
from milepost.snapshots.layout import Layout
from milepost.snapshots.names import DELETED_AT, FIRST_PASS, HASH, MISFITS, PASS, SYNCED_AT, quoted

STORED: Final = "stored"
"""The alias of the table in an INSERT: a table may be named "excluded"."""

KEPT: Final = (PASS, FIRST_PASS, SYNCED_AT, HASH, MISFITS)
"""What an older version keeps of what we know of it; until when it was the latest comes to that."""

SAME: Final = f"{STORED}.{HASH} = excluded.{HASH} AND {STORED}.{DELETED_AT} IS NULL"


def on_conflict(layout: Layout, *, greatest: str) -> str:
    """Write the ON CONFLICT clause; `greatest` is the database's function of that name."""
    # An undecided column is null in every row, and stays so.
    names = [quoted(column.name) for column in layout.columns if column.kind is not Kind.UNDECIDED]
    changes = [
        *(f"{name} = excluded.{name}" for name in [*names, SYNCED_AT, HASH, MISFITS]),
        # An older pass that still runs must not hide that a newer one has seen the row.
        f"{PASS} = {greatest}({STORED}.{PASS}, excluded.{PASS})",
        f"{DELETED_AT} = NULL",
    ]
    key = ", ".join(map(quoted, layout.key_columns))
    return f"ON CONFLICT ({key}) DO UPDATE SET {', '.join(changes)}"
