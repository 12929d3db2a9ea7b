"""Turns the text of a CSV field into a value, where the value turns back into the same text."""

from math import isfinite

Value = str | int | float | bool | None

_INTEGERS = range(-(2**63), 2**63)


def convert(text: str) -> Value:
    """Read canonical integers and floats, true, false and nothing; leave the rest as text.

    `007`, `+7`, `1.50` and `1e5` stay text: as numbers they would be written differently.
    """
    if not text:
        return None
    # Most fields of most files are words, and the first character tells.
    if text[0] not in "-0123456789":
        return text == "true" if text in {"true", "false"} else text
    # A number that is written as one ends with a digit: no moment in UTC, no amount with a unit.
    if text[-1] not in "0123456789":
        return text
    try:
        integer = int(text)
    except ValueError:
        return _float(text)
    return integer if str(integer) == text and integer in _INTEGERS else text


def _float(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if isfinite(number) and repr(number) == text else text
