"""Write the cells of a column as a PostgreSQL array literal, which the server reads quickly."""

from collections.abc import Sequence
from typing import Any, Final

from milepost.snapshots.kinds import Kind

# Neither is in any text that PostgreSQL can hold, so a whole column is escaped in one go.
_BETWEEN: Final = "\ud800"
_NULL: Final = "\udfff"


def array(kind: Kind, cells: Sequence[Any]) -> str:
    """Write the array; timestamps, texts and JSON are strings."""
    match kind:
        case Kind.INTEGER:
            return _plain(str, cells)
        case Kind.FLOAT:
            return _plain(repr, cells)
        case Kind.BOOLEAN:
            return _plain(lambda cell: "t" if cell else "f", cells)
        case _:
            return _quoted(cells)


def _plain(write: Any, cells: Sequence[Any]) -> str:
    if None in cells:
        return f"{{{','.join(['NULL' if cell is None else write(cell) for cell in cells])}}}"
    return f"{{{','.join(map(write, cells))}}}"


def _quoted(cells: Sequence[Any]) -> str:
    nulls = None in cells
    joined = _BETWEEN.join([_NULL if cell is None else cell for cell in cells] if nulls else cells)
    if "\\" in joined:
        joined = joined.replace("\\", "\\\\")
    escaped = joined.replace('"', '\\"').replace(_BETWEEN, '","')
    written = f'{{"{escaped}"}}'
    return written.replace(f'"{_NULL}"', "NULL") if nulls else written
