"""Values that stand beside their column, in `_milepost_misfits`, because it cannot hold them.

JSON of field names and values, as Python writes it: with NaN and Infinity, and with escapes for
what no text column holds.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from milepost.snapshots.kinds import Kind, are_timestamps, exact_in_float
from milepost.snapshots.pages import Values

_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**63 - 1


class Misfits:
    """Those of one page: for each record the fields that are kept aside."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[str, Any]] = {}
        self.count = 0

    def add(self, field: str, values: Mapping[int, Any]) -> None:
        """Keep values of a field aside, by the places of their records."""
        for index, value in values.items():
            self._rows.setdefault(index, {})[field] = value
            self.count += 1

    def texts(self) -> dict[int, str]:
        """What is stored of each record that has any."""
        return {index: json.dumps(fields) for index, fields in self._rows.items()}


def restored(text: str) -> dict[str, Any]:
    """Read the fields and values that were kept aside."""
    fields: dict[str, Any] = json.loads(text)
    return fields


def set_aside(field: Values, kind: Kind) -> tuple[Values, Mapping[int, Any]]:
    """Part a field's values into those that a column of that kind holds, and the others."""
    aside = {
        index: value
        for index, value in enumerate(field.values)
        if value is not None and not _fits(value, kind)
    }
    if not aside:
        return field, aside
    values: Sequence[Any] = [
        None if index in aside else value for index, value in enumerate(field.values)
    ]
    return Values(field.field, values, frozenset(map(type, values)), field.odd), aside


def _fits(value: Any, kind: Kind) -> bool:
    match kind:
        case Kind.UNDECIDED:
            return False
        case Kind.INTEGER:
            return type(value) is int and _SMALLEST <= value <= _LARGEST
        case Kind.FLOAT:
            return type(value) is float or (type(value) is int and exact_in_float([value]))
        case Kind.BOOLEAN:
            return type(value) is bool
        case Kind.TIMESTAMP:
            return type(value) is str and are_timestamps([value])
        case Kind.TEXT:
            return type(value) not in (dict, list)
        case Kind.JSON:
            return True
