"""What the formats have in common: they read a page from a place on."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from milepost.connectors.connector import Cursor, Page
from milepost.connectors.files.lines import Place
from milepost.errors import FatalConnectorError


class Reader(Protocol):
    """One open file. It blocks, so it runs on a thread."""

    def go_to(self, cursor: Cursor) -> None:
        """Go on after a page of an earlier run."""
        ...

    def read(self, limit: int) -> Page:
        """Read up to so many records."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LineCursor(Place):
    """After a line of a CSV or JSON Lines file."""

    format: Literal["csv", "jsonl"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexCursor:
    """After so many records of a JSON file with this checksum."""

    format: Literal["json"] = "json"
    index: int
    crc: int


FileCursor = TypeVar("FileCursor", LineCursor, IndexCursor)

_CURSOR: TypeAdapter[LineCursor | IndexCursor] = TypeAdapter(
    Annotated[LineCursor | IndexCursor, Field(discriminator="format")]
)


def to_cursor(cursor: LineCursor | IndexCursor) -> Cursor:
    """Make it JSON."""
    return _CURSOR.dump_python(cursor, mode="json")


def from_cursor(cursor: Any, expected: type[FileCursor], file_format: str) -> FileCursor:
    """Read it back.

    Raises FatalConnectorError for what is no cursor of a file in this format.
    """
    try:
        read = _CURSOR.validate_python(cursor)
    except ValidationError:
        read = None
    if not isinstance(read, expected) or read.format != file_format:
        raise FatalConnectorError(
            f"the checkpoint holds no cursor of a {file_format} file: was the job's source "
            "changed? Submit a new job, which begins at the start"
        )
    return read
