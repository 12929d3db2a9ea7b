"""Names that both databases take, made from any names."""

import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import Final

# What each row has beside its fields, in the tables' order.
ROW: Final = "_milepost_row"
PASS: Final = "_milepost_pass"  # noqa: S105
FIRST_PASS: Final = "_milepost_first_pass"  # noqa: S105
SYNCED_AT: Final = "_milepost_synced_at"
DELETED_AT: Final = "_milepost_deleted_at"
HASH: Final = "_milepost_hash"
MISFITS: Final = "_milepost_misfits"

_KEY_INDEX: Final = "_milepost_key_"
_LONGEST: Final = 63  # bytes: PostgreSQL cuts what is longer, silently

# PostgreSQL refuses these as column names, quoted or not.
_SYSTEM_COLUMNS: Final = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})

# pg_: an unqualified pg_class means the catalogue's, whatever tables there are.
_OTHERS: Final = ("milepost_", "_milepost_", "sqlite_", "pg_")


def column_name(field: str, taken: Iterable[str]) -> str:
    """Make the name of a new column, unlike every name taken."""
    name = _cleaned(field) or "field"
    if name.casefold().startswith("_milepost_"):
        name = f"field{name}"
    return _unlike(name, {*map(str.casefold, taken), *_SYSTEM_COLUMNS}, _LONGEST)


def relation_name(table: str, taken: Iterable[str]) -> str:
    """Make the name of a new table in the destination, unlike every name taken."""
    name = _cleaned(table) or "table"
    if name.casefold().startswith(_OTHERS):
        name = f"snapshot_{name}"
    return _unlike(name, set(map(str.casefold, taken)), _LONGEST - len(_KEY_INDEX))


def key_index_name(relation: str) -> str:
    """Name the unique index over a table's key."""
    return _KEY_INDEX + relation


def quoted(name: str) -> str:
    """Quote a name made here, for SQL: no name made here contains a quote or a percent sign."""
    return f'"{name}"'


def _cleaned(name: str) -> str:
    cleaned = re.sub(r"\W+", "_", unicodedata.normalize("NFC", name))
    return cleaned if cleaned.strip("_") else ""


def _unlike(name: str, taken: Collection[str], limit: int) -> str:
    candidate = _cut(name, limit)
    number = 1
    while candidate.casefold() in taken:
        number += 1
        suffix = f"_{number}"
        candidate = _cut(name, limit - len(suffix)) + suffix
    return candidate


def _cut(name: str, limit: int) -> str:
    return name.encode()[:limit].decode(errors="ignore")
