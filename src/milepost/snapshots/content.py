"""A number for the content of each record: where it is the same, nothing has changed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import repeat
from struct import unpack
from typing import Any, Final

import msgspec

from milepost.snapshots.layout import Column
from milepost.snapshots.pages import Values

_BYTES: Final = 8
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_NULL_AT_THE_END: Final = b",null]"


def hashes(
    columns: Sequence[Column],
    page: Mapping[str, Values],
    misfits: Mapping[int, str],
    *,
    records: int,
) -> Sequence[int]:
    """Hash the records of a page to signed integers of 64 bits.

    The columns' order counts, not that of a record's fields, and neither a null at the end: so a
    column that comes later changes no record that has nothing to say in it.
    """
    cells = [
        page[column.field].values if column.field in page else repeat(None, records)
        for column in columns
    ]
    written = _written(cells) if cells else [b"[]"] * records
    for index, text in misfits.items():
        written[index] += text.encode()
    digests = [blake2b(each, digest_size=_BYTES).digest() for each in written]
    return unpack(f"<{len(digests)}q", b"".join(digests))


def _written(cells: Sequence[Iterable[Any]]) -> list[bytes]:
    rows = list(zip(*cells, strict=True))
    try:
        written = list(map(_ENCODER.encode, rows))
    except (OverflowError, RecursionError):
        # It takes no integer beyond 64 bits. Each is tried, for the same record is to be written
        # the same way whatever stands on its page.
        written = list(map(_written_each, rows))
    if rows and any(row[-1] is None for row in rows):
        written = list(map(_without_nulls_at_the_end, written))
    return written


def _written_each(row: tuple[Any, ...]) -> bytes:
    try:
        return _ENCODER.encode(row)
    except (OverflowError, RecursionError):
        return json.dumps(row, sort_keys=True, separators=(",", ":")).encode()


def _without_nulls_at_the_end(written: bytes) -> bytes:
    while written.endswith(_NULL_AT_THE_END):
        written = written[: -len(_NULL_AT_THE_END)] + b"]"
    return written
