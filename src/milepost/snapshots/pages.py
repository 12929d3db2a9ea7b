"""One page of records, seen field by field, and what is refused about it."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from typing import Any, Final, NoReturn

from pydantic_core import to_json, to_jsonable_python

from milepost.errors import RecordRejected
from milepost.snapshots.kinds import Kind

_NULL: Final = type(None)
_JSON_TYPES: Final = frozenset({_NULL, bool, int, float, str, dict, list})
_NUL_IN_JSON: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_MOST_BITS: Final = 13_280  # Python reads and writes at most 4,300 digits
_LONGEST_KEY: Final = 2000  # bytes: PostgreSQL's index entries end at 2,704, with all columns


@dataclass(frozen=True, slots=True)
class Values:
    """All values of one field in a page; null where a record misses the field."""

    field: str
    values: Sequence[Any]
    types: frozenset[type]
    """The exact types that occur."""

    def present(self) -> tuple[Sequence[Any], frozenset[type]]:
        """Leave out the nulls: the other values, and their types."""
        if _NULL not in self.types:
            return self.values, self.types
        return [value for value in self.values if value is not None], self.types - {_NULL}


class Refusal:
    """Raises RecordRejected for one table."""

    def __init__(self, table: str) -> None:
        self._table = table

    def record(self, index: int, reason: str) -> NoReturn:
        """Refuse a record as a whole."""
        raise RecordRejected(self._table, index, None, reason)

    def value(self, index: int, field: str, reason: str) -> NoReturn:
        """Refuse a record for one of its values."""
        raise RecordRejected(self._table, index, field, reason)


def by_field(table: str, records: Sequence[Mapping[str, Any]]) -> list[Values]:
    """Turn a page around: the values of each field, in the order in which fields first occur.

    Values that are no JSON but that pydantic can write as JSON (a datetime, a Decimal, a UUID)
    become what it writes.
    """
    refuse = Refusal(table)
    for index, record in enumerate(records):
        if type(record) is not dict and not isinstance(record, Mapping):
            refuse.record(index, f"it is not an object but {type(record).__name__}")
    return [
        _values(refuse, field, [record.get(field) for record in records])
        for field in _fields(refuse, records)
    ]


def check_key(
    table: str, key: Sequence[str], page: Sequence[Values], records: Sequence[Mapping[str, Any]]
) -> None:
    """Refuse the records that a key cannot identify."""
    refuse = Refusal(table)
    values = {field.field: field for field in page}
    longest = _LONGEST_KEY // max(len(key), 1)
    for name in key:
        field = values.get(name) or Values(name, [None], frozenset({_NULL}))
        if field.types <= {int, float, bool}:
            continue
        for index, value in enumerate(field.values):
            if value is None:
                reason = "null" if name in records[index] else "missing"
                refuse.value(index, name, f"the key is {reason}")
            if type(value) in (dict, list):
                refuse.value(index, name, "the key is nested, and cannot be compared")
            # No character is more than 4 bytes; surrogates, which cannot be encoded, come later.
            if type(value) is str and len(value) * 4 > longest < len(
                value.encode(errors="replace")
            ):
                refuse.value(index, name, f"the key is longer than {longest:,} bytes")


def check_text(table: str, field: str, values: Sequence[Any], kind: Kind, *, nul: bool) -> None:
    """Refuse the texts that the destination cannot hold; `nul`: it holds that character."""
    if kind is Kind.JSON:
        _check_json(Refusal(table), field, values, nul=nul)
    elif kind is Kind.TEXT and not _holdable("".join(filter(None, values)), nul=nul):
        for index, value in enumerate(values):
            if value is not None and not _holdable(value, nul=nul):
                Refusal(table).value(index, field, _unholdable(value))


def _fields(refuse: Refusal, records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names: Iterable[object] = dict.fromkeys(chain.from_iterable(records))
    for field in names:
        if not isinstance(field, str):
            index = next(i for i, record in enumerate(records) if field in set(record))
            refuse.record(index, f"a field's name is not text: {field!r}")
        yield field


def _values(refuse: Refusal, field: str, values: list[Any]) -> Values:
    types = set(map(type, values))
    if types - _JSON_TYPES:
        values = [_as_json(refuse, field, index, value) for index, value in enumerate(values)]
        types = set(map(type, values))
    if types & {int, float}:
        _check_numbers(refuse, field, values)
    return Values(field, values, frozenset(types))


def _check_numbers(refuse: Refusal, field: str, values: Sequence[Any]) -> None:
    try:
        if all(map(isfinite, [value for value in values if type(value) in (int, float)])):
            return
    except OverflowError:
        pass  # an integer beyond the floats
    for index, value in enumerate(values):
        if type(value) is float and not isfinite(value):
            refuse.value(index, field, f"{value} is not a JSON number")
        if type(value) is int and value.bit_length() > _MOST_BITS:
            refuse.value(index, field, "the integer has more than 4,000 digits")


def _as_json(refuse: Refusal, field: str, index: int, value: Any) -> Any:
    if type(value) in _JSON_TYPES:
        return value
    try:
        return to_jsonable_python(value)
    except ValueError:
        refuse.value(index, field, f"{type(value).__name__} cannot be written as JSON")


def _holdable(text: str, *, nul: bool) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return nul or "\0" not in text


def _unholdable(text: str) -> str:
    return (
        "the text has the character NUL, which PostgreSQL cannot hold"
        if _holdable(text, nul=True)
        else "the text has half a surrogate pair, which is no character"
    )


def _check_json(refuse: Refusal, field: str, values: Sequence[Any], *, nul: bool) -> None:
    try:
        # As deep as a destination will nest them, or deeper: the depth is limited.
        text = to_json([values]).decode()
    except ValueError:
        text = ""
    if text and "NaN" not in text and "Infinity" not in text and (nul or "\\u0000" not in text):
        return
    for index, value in enumerate(values):
        try:
            json.loads(to_json([[value]]), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            refuse.value(index, field, f"it cannot be written as JSON: {error}")
        if not nul and _NUL_IN_JSON.search(to_json(value).decode()):
            refuse.value(index, field, _unholdable("\0"))


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")
