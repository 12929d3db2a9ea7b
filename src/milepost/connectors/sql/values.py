"""What databases hold as JSON values, so that nothing is lost."""

import base64
import json
from collections.abc import Callable
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from sqlalchemy import types
from sqlalchemy.types import TypeEngine

from milepost.connectors.connector import ColumnType

EXACT_DIGITS: Final = 15
"""A float keeps any decimal of so many digits: the same ones come back (DBL_DIG in C)."""


def column_type(of: TypeEngine[Any]) -> ColumnType:
    """Say what the values of a column are as JSON."""
    match of:
        case types.Boolean():
            return "boolean"
        case types.Integer():
            return "integer"
        case types.Float():
            return "float"
        case types.Numeric():
            return _decimal_type(of)
        case types.JSON() | types.ARRAY():
            return "json"
        case types.DateTime() if of.timezone:
            return "timestamp"
        case _:
            return "text"


def decimal_converter(of: TypeEngine[Any]) -> Callable[[str], Any] | None:
    """Make a number of a decimal where no digit is lost; else it stays text.

    By the column, not by the value, so that one column holds one kind of values.
    """
    match column_type(of):
        case "integer":
            return _number_by(int)
        case "float":
            return _number_by(float)
        case _:
            return None


def floating(value: float) -> float | str:
    """Leave a number, and write what JSON has no number for as text: NaN, Infinity, -Infinity."""
    if isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124


def encoded(value: bytes) -> str:
    """Write bytes as base64 (RFC 4648, section 4)."""
    return base64.b64encode(value).decode()


def parsed(text: str | bytes) -> Any:
    """Read JSON; a number that a float does not hold exactly stays the text that it was."""
    return json.loads(text, parse_float=_exact)


def _decimal_type(of: "types.Numeric[Any]") -> ColumnType:
    if of.scale == 0:
        return "integer"
    return "float" if of.precision and of.precision <= EXACT_DIGITS else "text"


def _number_by(make: Callable[[str], Any]) -> Callable[[str], Any]:
    def number(text: str) -> Any:
        # NaN and Infinity, which PostgreSQL has as decimals too.
        return make(text) if text[-1].isdigit() else text

    return number


def _exact(text: str) -> float | str:
    number = float(text)
    if isfinite(number) and (len(text) <= EXACT_DIGITS or Decimal(repr(number)) == Decimal(text)):
        return number
    return text
