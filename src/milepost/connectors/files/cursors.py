"""Positions in files: which file, and where in it."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from milepost.connectors.connector import Cursor
from milepost.errors import FatalConnectorError

_STRICT: Final = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvPlace:
    """After a line of a CSV file, and how the file is written: more of it could look otherwise."""

    __pydantic_config__ = _STRICT

    format: Literal["csv"] = "csv"
    offset: int
    line: int
    crc: int
    encoding: str
    delimiter: str
    quote: str
    escape: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePlace:
    """After a line of a JSON Lines file."""

    __pydantic_config__ = _STRICT

    format: Literal["jsonl"] = "jsonl"
    offset: int
    line: int
    crc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPlace:
    """After so many records of a JSON file with this checksum."""

    __pydantic_config__ = _STRICT

    format: Literal["json"] = "json"
    index: int
    crc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlace:
    """After so many rows of a row group of a Parquet file with this checksum of its metadata."""

    __pydantic_config__ = _STRICT

    format: Literal["parquet"] = "parquet"
    group: int
    row: int
    crc: int


Place = CsvPlace | LinePlace | IndexPlace | RowPlace
SomePlace = TypeVar("SomePlace", CsvPlace, LinePlace, IndexPlace, RowPlace)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCursor:
    """After a page. No `file`: before the first one. No `place`: that file is done.

    `passed` counts the files up to this one, without it where it is not done, and `crc` is the
    checksum of their names and versions. `known` are the marks of all files that were read, where
    only new ones are to be read. All of it for one table.
    """

    __pydantic_config__ = _STRICT

    file: str | None = None
    version: str | None = None
    place: Annotated[Place, Field(discriminator="format")] | None = None
    passed: int = 0
    crc: int = 0
    known: tuple[str, ...] | None = None


_NAMES: Final = {
    CsvPlace: "CSV",
    LinePlace: "JSON Lines",
    IndexPlace: "JSON",
    RowPlace: "Parquet",
}
_CURSOR: TypeAdapter[FileCursor] = TypeAdapter(FileCursor)


def to_cursor(cursor: FileCursor) -> Cursor:
    """Make it JSON."""
    return _CURSOR.dump_python(cursor, mode="json", exclude_none=True)


def from_cursor(cursor: Cursor) -> FileCursor:
    """Read it back; None is before the first file.

    Raises FatalConnectorError for what is no cursor of a file.
    """
    if cursor is None:
        return FileCursor()
    try:
        return _CURSOR.validate_python(cursor)
    except ValidationError:
        raise _foreign("file") from None


def as_place(place: Place | None, expected: type[SomePlace]) -> SomePlace | None:
    """Take a place as one in a file of a format.

    Raises FatalConnectorError for one in a file of another.
    """
    if place is None or isinstance(place, expected):
        return place
    raise _foreign(f"{_NAMES[expected]} file")


def _foreign(what: str) -> FatalConnectorError:
    return FatalConnectorError(
        f"the checkpoint holds no cursor of a {what}: was the job's source changed? Submit a new "
        "job, which begins at the start"
    )
