"""Write cells as the texts that PostgreSQL reads quickest: array literals, and lines for COPY."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from milepost.snapshots.kinds import Kind

_PLAIN: Final = frozenset({Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN})

# Neither is in any text that PostgreSQL can hold, so a whole column is escaped in one go.
_BETWEEN: Final = "\ud800"
_NULL: Final = "\udfff"
_ESCAPES: Final = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))


def array(kind: Kind, cells: Sequence[Any]) -> str:
    """Write one column as an array; timestamps, texts and JSON are strings."""
    return f"{{{_plain(cells)}}}" if kind in _PLAIN else _quoted(cells)


def lines(columns: Iterable[tuple[Kind, Sequence[Any]]]) -> str:
    """Write columns as lines of COPY's text format; a newline is at the end of each and only there.

    At least one column.
    """
    return "\n".join(map("\t".join, zip(*(_fields(*each) for each in columns), strict=True))) + "\n"


def _plain(cells: Sequence[Any]) -> str:
    """Write numbers or booleans, with commas between: as JSON has them, PostgreSQL reads them."""
    return msgspec.json.encode(cells)[1:-1].decode()


def _quoted(cells: Sequence[Any]) -> str:
    joined, nulls = _joined(cells)
    if "\\" in joined:
        joined = joined.replace("\\", "\\\\")
    escaped = joined.replace('"', '\\"').replace(_BETWEEN, '","')
    written = f'{{"{escaped}"}}'
    return written.replace(f'"{_NULL}"', "NULL") if nulls else written


def _fields(kind: Kind, cells: Sequence[Any]) -> Iterable[str]:
    if kind in _PLAIN:
        written = _plain(cells)
        return (written.replace("null", r"\N") if None in cells else written).split(",")
    joined, nulls = _joined(cells)
    for character, escape in _ESCAPES:
        if character in joined:
            joined = joined.replace(character, escape)
    return (joined.replace(_NULL, r"\N") if nulls else joined).split(_BETWEEN)


def _joined(cells: Sequence[Any]) -> tuple[str, bool]:
    nulls = None in cells
    return _BETWEEN.join(
        [_NULL if cell is None else cell for cell in cells] if nulls else cells
    ), nulls
