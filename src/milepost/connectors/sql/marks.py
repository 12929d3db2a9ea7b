"""Cursors of a table: the place in its order, as JSON that loses nothing."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from milepost.connectors.connector import Cursor
from milepost.connectors.fields import CHECKED
from milepost.connectors.sql.dialect import Mark
from milepost.errors import FatalConnectorError

MarkJson = str | int | dict[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """After the row with these marks.

    `order` names the columns that they are of; without any the table is at its end. `newest` is
    the largest value of the incremental column when the pass began, and `since` the one that the
    pass began with; None: it reads all rows.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    order: tuple[str, ...]
    after: tuple[MarkJson, ...]
    newest: MarkJson = None
    since: MarkJson = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookmark:
    """What a later pass begins with: the largest value of a column that has been read."""

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    column: str
    since: MarkJson


AT_THE_END: Final = Place(order=(), after=())

_CURSOR: Final[TypeAdapter[Place | Bookmark]] = TypeAdapter(Place | Bookmark)


def to_cursor(cursor: Place | Bookmark) -> Cursor:
    """Make it JSON."""
    return _CURSOR.dump_python(cursor, mode="json")


def from_cursor(cursor: Any) -> Place | Bookmark:
    """Read it back. Raises FatalConnectorError for what is no cursor of a database."""
    try:
        return _CURSOR.validate_python(cursor)
    except ValidationError:
        raise FatalConnectorError(
            "the checkpoint holds no cursor of a database's table: was the job's source changed? "
            "Submit a new job, which begins at the start"
        ) from None


def dump(mark: Mark) -> MarkJson:
    """Write a mark. A float is text because JSON has no infinity, and some stores no -0.0."""
    match mark:
        case float():
            return {"float": repr(mark)}
        case bytes():
            return {"bytes": base64.b64encode(mark).decode()}
        case str() if not _is_unicode(mark):
            # SQLite keeps any bytes as text.
            octets = mark.encode("utf-8", "surrogateescape")
            return {"text": base64.b64encode(octets).decode()}
        case _:
            return mark


def load(written: MarkJson) -> Mark:
    """Read a mark back. Raises FatalConnectorError for what is none."""
    try:
        match written:
            case {"float": text}:
                return float(text)
            case {"bytes": text}:
                return base64.b64decode(text)
            case {"text": text}:
                return base64.b64decode(text).decode("utf-8", "surrogateescape")
            case str() | int() | None:
                return written
            case _:
                pass
    except ValueError:
        pass
    raise FatalConnectorError(f"the checkpoint holds no value of a key: {written}")


def dump_all(marks: Sequence[Mark]) -> tuple[MarkJson, ...]:
    """Write the marks of a row."""
    return tuple(map(dump, marks))


def load_all(written: Sequence[MarkJson]) -> list[Mark]:
    """Read the marks of a row back."""
    return [load(each) for each in written]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
