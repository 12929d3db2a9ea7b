"""Which fields tell the records of a table apart."""

from collections.abc import Sequence

from sqlalchemy import Connection

from milepost.connectors import Record
from milepost.errors import SnapshotError
from milepost.snapshots import Mode, stored_key

USUAL_KEY = "id"


def decide(
    conn: Connection,
    table: str,
    records: Sequence[Record],
    *,
    key: tuple[str, ...] | None,
    mode: Mode | None,
    source_key: tuple[str, ...],
) -> tuple[tuple[str, ...], Mode]:
    """Choose key and mode: what was asked, what the source says, what the table has, `id`.

    Raises SnapshotError that says what to ask for where the first page has no `id`.
    """
    if mode in ("append", "replace"):
        if key:
            raise SnapshotError(
                f"table {table!r}: a key is asked for and mode {mode}, which takes none: "
                "leave out one of them"
            )
        return (), mode
    if key:
        return key, "upsert"
    if source_key:
        return source_key, "upsert"
    stored = stored_key(conn, table)
    if stored:
        return stored, "upsert"
    if all(record.get(USUAL_KEY) is not None for record in records):
        return (USUAL_KEY,), "upsert"
    fields = ", ".join(sorted(records[0])[:12])
    raise SnapshotError(
        f"the records of {table!r} have no {USUAL_KEY!r} that tells them apart: pass --key with "
        f"the field that does (fields: {fields}), or --mode append or --mode replace"
    )
