"""What a column can hold, and what it becomes when a value no longer fits.

undecided ─▶ integer ─▶ float ─▶ text ─▶ json
        └──▶ boolean, timestamp ──┘

Every step keeps every value. `undecided` is a field that has only been null so far.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain, repeat
from secrets import token_hex
from typing import Any, Final

from pydantic_core import to_json

EXACT_IN_FLOAT: Final = 2**53
"""Beyond it a float no longer holds every integer."""

_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**63 - 1

# Nobody can know it, so that no record holds it.
_MARK: Final = token_hex(16)
_CUT: Final = f',"{_MARK}",'

# PostgreSQL takes offsets below 16 hours and 6 digits of a second; 14 hours is the largest in use.
_ISO_DATE_TIMES: Final = re.compile(
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
    r"(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])\n)+"
)


class Kind(StrEnum):
    """What the values of one column are."""

    UNDECIDED = "undecided"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    TEXT = "text"
    JSON = "json"


def are_timestamps(texts: Sequence[str]) -> bool:
    """Tell whether each is a valid ISO 8601 moment with offset, which all databases hold."""
    lines = "\n".join(texts) + "\n"
    if _ISO_DATE_TIMES.fullmatch(lines) is None or lines.count("\n") != len(texts):
        return False
    try:
        moments = list(map(datetime.fromisoformat, texts))
        if min(texts) < "0002" or max(texts) >= "9999":
            # Within a day of either end of time the offset can lead out of it.
            for moment in moments:
                moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return False
    return True


def json_texts(values: Sequence[Any]) -> list[str | None]:
    """Write each value as JSON; null is None. Raises ValueError."""
    # All by one call, each followed by a text that is in none of them.
    followed = list(chain.from_iterable(zip(values, repeat(_MARK), strict=False)))
    *texts, _ = (to_json(followed).decode()[1:-1] + ",").split(_CUT)
    return [None if value is None else text for value, text in zip(values, texts, strict=True)]


def kinds_of(values: Sequence[Any], types: Iterable[type], *, timestamps: bool) -> set[Kind]:
    """Say which kinds values of these exact JSON types are; no value is null.

    With `timestamps` false every string is text: cheaper, where nothing depends on it.
    """
    kinds: set[Kind] = set()
    for kind in types:
        if kind is bool:
            kinds.add(Kind.BOOLEAN)
        elif kind is float:
            kinds.add(Kind.FLOAT)
        elif kind is int:
            integers = [value for value in values if type(value) is int]
            fits = min(integers) >= _SMALLEST and max(integers) <= _LARGEST
            kinds.add(Kind.INTEGER if fits else Kind.TEXT)
        elif kind is str:
            found = timestamps and are_timestamps([value for value in values if type(value) is str])
            kinds.add(Kind.TIMESTAMP if found else Kind.TEXT)
        else:
            kinds.add(Kind.JSON)
    return kinds


def exact_in_float(values: Iterable[Any]) -> bool:
    """Tell whether a float holds each integer among the values exactly."""
    return all(abs(value) <= EXACT_IN_FLOAT for value in values if type(value) is int)


def join(kinds: Iterable[Kind], *, floats: bool) -> Kind:
    """Find the narrowest kind that holds them all.

    `floats`: whether integers may become floats here, because all of them are exact.
    """
    distinct = set(kinds) - {Kind.UNDECIDED}
    if not distinct:
        return Kind.UNDECIDED
    if Kind.JSON in distinct:
        return Kind.JSON
    if len(distinct) == 1:
        return distinct.pop()
    if floats and distinct == {Kind.INTEGER, Kind.FLOAT}:
        return Kind.FLOAT
    return Kind.TEXT


def scalar_text(value: Any) -> str:
    """Write a scalar as it stands in JSON; a string as itself."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value)
        case _:
            return str(value)


def encode(values: Sequence[Any], types: Iterable[type], kind: Kind) -> Sequence[Any]:
    """Turn a page's values of one field into what a column of that kind stores; JSON is text."""
    present = set(types)
    if kind is Kind.FLOAT and int in present:
        return [float(value) if type(value) is int else value for value in values]
    if kind is Kind.JSON:
        return json_texts(values)
    if kind is Kind.TEXT and present - {str}:
        return [None if value is None else scalar_text(value) for value in values]
    return values


def convert(value: Any, before: Kind, after: Kind) -> Any:
    """Turn a stored value of one kind into the wider kind, as `encode` would have stored it."""
    if value is None:
        return None
    plain = bool(value) if before is Kind.BOOLEAN else value
    match after:
        case Kind.FLOAT:
            return float(plain)
        case Kind.TEXT:
            return scalar_text(plain)
        case Kind.JSON:
            return to_json(plain).decode()
        case _:
            return plain
