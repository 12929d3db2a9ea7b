"""Turns Arrow columns into JSON values that lose nothing.

Numbers, booleans and text stay what they are. NaN and the infinities become the text "NaN",
"Infinity", "-Infinity"; a decimal its digits as text; a moment ISO 8601 text with all the digits
of its unit, in UTC and with Z where the column has a time zone; dates and times of day ISO 8601
text; a duration ISO 8601 seconds (PT1.500S); binary base64 text; a UUID its usual text; a struct an
object; a list a list; a map a list of {"key": …, "value": …}, whose keys may be of any type, and
twice the same.
"""

import math
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Final
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from milepost.errors import FatalConnectorError

_DIGITS: Final = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_DAY: Final = 86_400
_EPOCH: Final = date(1970, 1, 1).toordinal()
_LAST_DAY: Final = date.max.toordinal()


def json_values(column: pa.Array, where: str) -> list[Any]:
    """Turn a column into a list of JSON values; `where` names it in messages."""
    kind = column.type
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            return _each(column.storage.to_pylist(), lambda raw: str(UUID(bytes=raw)))
        return json_values(column.storage, where)
    if types.is_dictionary(kind):
        return json_values(column.dictionary_decode(), where)
    if types.is_floating(kind):
        return _each(column.to_pylist(), _float)
    if types.is_decimal(kind):
        return _each(column.to_pylist(), lambda value: format(value, "f"))
    if types.is_timestamp(kind):
        zone = "" if kind.tz is None else "Z"
        return _ticks(column, kind.unit, lambda ticks, unit: _moment(ticks, unit, where) + zone)
    if types.is_date(kind):
        days = column.cast(pa.date32()).cast(pa.int32()).to_pylist()
        return _each(days, lambda day: _date(day, where))
    if types.is_time(kind):
        return _ticks(column, kind.unit, _time)
    if types.is_duration(kind):
        return _ticks(column, kind.unit, _duration)
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return _each(column.to_pylist(), lambda raw: b64encode(raw).decode())
    if types.is_map(kind):
        pair = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        return json_values(column.cast(pa.list_(pair)), where)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _slices(json_values(column.flatten(), where), pc.list_value_length(column))
    if types.is_struct(kind):
        names = [kind.field(number).name for number in range(kind.num_fields)]
        fields = [json_values(field, where) for field in column.flatten()]
        rows = zip(*fields, strict=True) if fields else ((),) * len(column)
        objects = [dict(zip(names, row, strict=True)) for row in rows]
        return [
            each if valid else None for each, valid in zip(objects, _valid(column), strict=True)
        ]
    if types.is_integer(kind) or types.is_boolean(kind) or types.is_null(kind) or _is_text(kind):
        values: list[Any] = column.to_pylist()
        return values
    raise FatalConnectorError(f"{where} is of type {kind}, which JSON has no value for")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _valid(column: pa.Array) -> list[bool]:
    valid: list[bool] = column.is_valid().to_pylist()
    return valid


def _each(values: Sequence[Any], convert: Callable[[Any], Any]) -> list[Any]:
    return [None if value is None else convert(value) for value in values]


def _ticks(column: pa.Array, unit: str, write: Callable[[int, int], str]) -> list[Any]:
    digits = _DIGITS[unit]
    width = pa.int32() if pa.types.is_time32(column.type) else pa.int64()
    return _each(column.cast(width).to_pylist(), lambda ticks: write(ticks, digits))


def _slices(values: list[Any], lengths: pa.Array) -> list[Any]:
    lists: list[Any] = []
    at = 0
    for length in lengths.to_pylist():
        if length is None:
            lists.append(None)
            continue
        lists.append(values[at : at + length])
        at += length
    return lists


def _float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _fraction(ticks: int, digits: int) -> str:
    return f".{ticks:0{digits}d}" if digits else ""


def _time(ticks: int, digits: int) -> str:
    seconds, rest = divmod(ticks, 10**digits)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}{_fraction(rest, digits)}"


def _date(day: int, where: str) -> str:
    ordinal = day + _EPOCH
    if not 1 <= ordinal <= _LAST_DAY:
        raise FatalConnectorError(f"{where}: a date is not between the years 1 and 9999")
    return date.fromordinal(ordinal).isoformat()


def _moment(ticks: int, digits: int, where: str) -> str:
    day, rest = divmod(ticks, _DAY * 10**digits)
    return f"{_date(day, where)}T{_time(rest, digits)}"


def _duration(ticks: int, digits: int) -> str:
    seconds, rest = divmod(abs(ticks), 10**digits)
    return f"{'-' if ticks < 0 else ''}PT{seconds}{_fraction(rest, digits)}S"
