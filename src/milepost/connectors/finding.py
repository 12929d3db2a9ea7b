"""Finds the list of records in a JSON document."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from milepost.errors import FatalConnectorError

Path = tuple[str, ...]
"""The keys from the top of a document to its list of records; () where it is the list."""

_WELL_KNOWN = re.compile(
    "data|results?|items|records|rows|values?|entries|content|objects|hits", re.IGNORECASE
)
# Lists of objects beside the records of some APIs.
_NEVER = re.compile("errors?|warnings|messages|links|included|facets|aggregations", re.IGNORECASE)


def find_path(document: Any, table: str, *, has_marks: Callable[[], bool]) -> Path:
    """Find where the records are.

    `has_marks` tells whether the document looks like a page of a list: only then an empty list
    of any other name is taken for the records.
    Raises FatalConnectorError that names the candidates when there is not exactly one.
    """
    if isinstance(document, list):
        return ()
    if not isinstance(document, dict):
        raise FatalConnectorError(f"the reply is {_what(document)}, not a list of records")
    candidates = _well_known(document, table, ()) or _others(document, ())
    if not candidates:
        below = [(key, value) for key, value in document.items() if isinstance(value, dict)]
        candidates = [
            path
            for key, inner in below
            for path in _well_known(inner, table, (key,)) or _others(inner, (key,))
        ]
    if not candidates and has_marks():
        candidates = [(key,) for key, value in _lists(document) if not value]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise FatalConnectorError(
            "several lists in the reply could be the records: "
            f"{', '.join(map('.'.join, candidates))}; say which one with --records-path"
        )
    raise FatalConnectorError(
        f"no list of records in the reply, which has {_keys(document)}; "
        "if they are deeper down, say where with --records-path"
    )


def resolve(document: Any, dotted: str) -> Path:
    """Turn a dotted path that a person wrote into keys; a key may itself contain dots."""
    if dotted in {"", "."}:
        return ()
    if isinstance(document, dict) and dotted in document:
        return (dotted,)
    return tuple(dotted.split("."))


def records_at(document: Any, path: Path) -> list[dict[str, Any]] | None:
    """Take the records; None where the document has no such list.

    Raises FatalConnectorError when something else is there.
    """
    found = document
    for depth, key in enumerate(path):
        if not isinstance(found, dict):
            raise FatalConnectorError(
                f"{'.'.join(path[:depth]) or 'the reply'} is {_what(found)}: "
                f"there is no {'.'.join(path)!r} in it; mend --records-path"
            )
        if key not in found:
            return None
        found = found[key]
    if found is None:
        return []
    if not isinstance(found, list):
        raise FatalConnectorError(
            f"{'.'.join(path) or 'the reply'} is {_what(found)}, not a list of records"
        )
    for index, record in enumerate(found):
        if type(record) is not dict:
            raise FatalConnectorError(
                f"record {index} of {'.'.join(path) or 'the list'} is {_what(record)}, "
                "not an object"
            )
    return found


def missing(document: Any, path: Path) -> FatalConnectorError:
    """Say that a known path leads nowhere."""
    return FatalConnectorError(
        f"no {'.'.join(path)!r} in the reply, which has {_keys(document)}; mend --records-path"
    )


def _well_known(node: dict[str, Any], table: str, above: Path) -> list[Path]:
    lists = dict(_lists(node))
    if table in lists:
        return [(*above, table)]
    known = [key for key in lists if _WELL_KNOWN.fullmatch(key)]
    # `{"data": [...], "values": []}`: the one that holds something.
    filled = [key for key in known if lists[key]]
    return [(*above, key) for key in (filled or known)]


def _others(node: dict[str, Any], above: Path) -> list[Path]:
    return [(*above, key) for key, value in _lists(node) if value]


def _lists(node: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the lists that could hold records: empty, or of objects."""
    for key, value in node.items():
        if isinstance(value, list) and not _NEVER.fullmatch(key):  # noqa: SIM102
            if not value or isinstance(value[0], dict):
                yield key, value


def _keys(document: Any) -> str:
    if not isinstance(document, dict):
        return _what(document)
    shown = [f"{key} ({_what(value)})" for key, value in list(document.items())[:12]]
    return ", ".join(shown) or "nothing in it"


def _what(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "an object"
