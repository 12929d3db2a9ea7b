"""One page of records, seen field by field; what no column holds, and which records are refused."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from operator import itemgetter
from typing import Any, Final, NoReturn

from pydantic_core import to_jsonable_python

from milepost.errors import RecordRejected
from milepost.snapshots.kinds import json_texts

_NULL: Final = type(None)
_JSON_TYPES: Final = frozenset({_NULL, bool, int, float, str, dict, list})
_NUL_IN_JSON: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_MOST_BITS: Final = 13_280  # Python reads and writes at most 4,300 digits
_LONGEST_KEY: Final = 2000  # bytes: PostgreSQL's index entries end at 2,704, with all columns


@dataclass(frozen=True, slots=True)
class Values:
    """All values of one field in a page; null where a record misses the field.

    `odd` are those, by their places, that no column holds: NaN, half a surrogate pair and the like.
    Null stands in their place.
    """

    field: str
    values: Sequence[Any]
    types: frozenset[type]
    """The exact types that occur."""
    odd: Mapping[int, Any]
    written: Sequence[str | None] = ()
    """The values as JSON texts, where some are nested."""

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


def by_field(table: str, records: Sequence[Mapping[str, Any]], *, nul: bool) -> list[Values]:
    """Turn a page around: the values of each field, in the order in which fields first occur.

    Values that are no JSON but that pydantic can write as JSON (a datetime, a Decimal, a UUID)
    become what it writes. `nul`: texts may contain that character. Raises RecordRejected.
    """
    refuse = Refusal(table)
    for index, record in enumerate(records):
        if type(record) is not dict and not isinstance(record, Mapping):
            refuse.record(index, f"it is not an object but {type(record).__name__}")
    fields, columns = _columns(refuse, records)
    return [
        _values(refuse, field, values, nul=nul)
        for field, values in zip(fields, columns, strict=True)
    ]


def check_key(
    table: str, key: Sequence[str], page: Sequence[Values], records: Sequence[Mapping[str, Any]]
) -> None:
    """Refuse the records that a key cannot identify."""
    refuse = Refusal(table)
    values = {field.field: field for field in page}
    longest = _LONGEST_KEY // max(len(key), 1)
    for name in key:
        field = values.get(name) or Values(name, [None] * len(records), frozenset({_NULL}), {})
        for index, value in field.odd.items():
            refuse.value(index, name, f"the key cannot be stored: {_oddity(value)}")
        if field.types <= {int, float, bool}:
            continue
        for index, value in enumerate(field.values):
            if value is None:
                reason = "null" if name in records[index] else "missing"
                refuse.value(index, name, f"the key is {reason}")
            if type(value) in (dict, list):
                refuse.value(index, name, "the key is nested, and cannot be compared")
            # No character is more than 4 bytes.
            if type(value) is str and len(value) * 4 > longest < len(value.encode()):
                refuse.value(index, name, f"the key is longer than {longest:,} bytes")


def _columns(
    refuse: Refusal, records: Sequence[Mapping[str, Any]]
) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    """Find the fields and the values of each; the quick way where all records have the same."""
    fields = list(_fields(refuse, records[:1]))
    if len(fields) > 1 and set(map(len, records)) == {len(fields)}:
        with suppress(KeyError):
            return fields, list(zip(*map(itemgetter(*fields), records), strict=True))
    fields = list(_fields(refuse, records))
    return fields, [[record.get(field) for record in records] for field in fields]


def _fields(refuse: Refusal, records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names: Iterable[object] = dict.fromkeys(chain.from_iterable(records))
    for field in names:
        if not isinstance(field, str):
            index = next(i for i, record in enumerate(records) if field in set(record))
            refuse.record(index, f"a field's name is not text: {field!r}")
        yield field


def _values(refuse: Refusal, field: str, values: Sequence[Any], *, nul: bool) -> Values:
    types = set(map(type, values))
    if types - _JSON_TYPES:
        values = [_as_json(refuse, field, index, value) for index, value in enumerate(values)]
        types = set(map(type, values))
    written = _written(values, types)
    if written is not None and _all_hold(values, types, written, nul=nul):
        return Values(field, values, frozenset(types), {}, written)
    odd = {}
    for index, value in enumerate(values):
        one, kind = [value], {type(value)}
        text = _written(one, kind)
        if text is None or not _all_hold(one, kind, text, nul=nul):
            _check_writable(refuse, field, index, value)
            odd[index] = value
    values = [None if index in odd else value for index, value in enumerate(values)]
    types = set(map(type, values))
    return Values(field, values, frozenset(types), odd, _written(values, types) or ())


def _written(values: Sequence[Any], types: set[type]) -> Sequence[str | None] | None:
    """Write the values as JSON where some are nested; None where one cannot be written."""
    if not types & {dict, list}:
        return ()
    try:
        return json_texts(values)
    except ValueError:
        return None


def _all_hold(
    values: Sequence[Any], types: set[type], written: Sequence[str | None], *, nul: bool
) -> bool:
    """Tell quickly whether a column can hold each of the values."""
    if types & {int, float} and not _are_numbers(values, types):
        return False
    if str in types:
        texts = values if types == {str} else [each for each in values if type(each) is str]
        if not _is_text("".join(texts), nul=nul):
            return False
    return not written or _is_json(written, nul=nul)


def _are_numbers(values: Sequence[Any], types: set[type]) -> bool:
    numbers = (
        values
        if types <= {int, float}
        else [value for value in values if type(value) in (int, float)]
    )
    try:
        # The sum of finite floats may be infinite; then each is looked at.
        return isfinite(sum(numbers)) or all(map(isfinite, numbers))
    except OverflowError:  # an integer beyond the floats
        return all(
            isfinite(value) if type(value) is float else value.bit_length() <= _MOST_BITS
            for value in numbers
        )


def _is_text(text: str, *, nul: bool) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return nul or "\0" not in text


def _is_json(written: Sequence[str | None], *, nul: bool) -> bool:
    text = f"[{','.join(filter(None, written))}]"
    if "NaN" not in text and "Infinity" not in text and (nul or "\\u0000" not in text):
        return True
    if not nul and _NUL_IN_JSON.search(text):
        return False
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        return False
    return True


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _as_json(refuse: Refusal, field: str, index: int, value: Any) -> Any:
    if type(value) in _JSON_TYPES:
        return value
    try:
        return to_jsonable_python(value)
    except ValueError:
        refuse.value(index, field, f"{type(value).__name__} cannot be written as JSON")


def _check_writable(refuse: Refusal, field: str, index: int, value: Any) -> None:
    """Refuse what not even Python can write as JSON and read back."""
    if type(value) is int:
        refuse.value(index, field, "the integer has more than 4,000 digits")
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        refuse.value(index, field, f"it cannot be written as JSON: {error}")


def _oddity(value: Any) -> str:
    if type(value) is float:
        return f"{value} is not a JSON number"
    if type(value) is not str:
        return "it is nested"
    if _is_text(value, nul=True):
        return "the text has the character NUL, which PostgreSQL cannot hold"
    return "the text has half a surrogate pair, which is no character"
