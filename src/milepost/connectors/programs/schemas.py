"""What a JSON schema says of columns."""

from collections.abc import Iterator, Mapping
from typing import Any

from milepost.connectors.connector import ColumnType


def columns_of(schema: Mapping[str, Any]) -> dict[str, ColumnType]:
    """Name the fields that are of one type, whatever else they may be instead: null."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return {}
    found = {str(name): _type_of(each) for name, each in properties.items()}
    return {name: type_ for name, type_ in found.items() if type_ is not None}


def _type_of(schema: Any) -> ColumnType | None:
    types = set(_types(schema)) - {"null"}
    if types == {"integer", "number"}:
        return "float"
    return _NAMED.get(types.pop()) if len(types) == 1 else None


def _types(schema: Any) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        return
    for choice in ("anyOf", "oneOf"):
        for each in schema.get(choice) or ():
            yield from _types(each)
    named = schema.get("type", ())
    for each in [named] if isinstance(named, str) else named:
        moment = each == "string" and schema.get("format") == "date-time"
        yield "date-time" if moment else str(each)


_NAMED: Mapping[str, ColumnType] = {
    "integer": "integer",
    "number": "float",
    "boolean": "boolean",
    "string": "text",
    "date-time": "timestamp",
    "object": "json",
    "array": "json",
}
