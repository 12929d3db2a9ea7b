"""Where a walk over a table stands: what a cursor of the HTTP connector holds.

All text in a position is sealed: secrets stand in it as `${NAME}`. A walk that goes on and one
that resumes ask in the same way, because both ask by position. A position also names how pages
are followed and where the records are, so that a resumed walk does not guess anew.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, TypeAdapter, ValidationError

from milepost.connectors.http.vocabulary import counts
from milepost.errors import FatalConnectorError


@dataclass(frozen=True, slots=True)
class Start:
    """Before the first page."""

    kind: Literal["start"] = "start"
    path: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AtUrl:
    """The page behind a URL that the server gave, without its origin."""

    kind: Literal["link", "next-url"]
    url: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AtToken:
    """The page behind a cursor that the server gave."""

    kind: Literal["cursor"] = "cursor"
    param: str
    value: str | int
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AtPage:
    """The page of a number; `seen` records came before it, since `first`.

    `told`: the server names the next page's number, so that its silence is the end.
    """

    kind: Literal["page"] = "page"
    param: str
    number: int
    first: int
    seen: int
    told: bool = False
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AtOffset:
    """The page that begins after so many records; the first one is 0, or 1 in some APIs."""

    kind: Literal["offset"] = "offset"
    param: str
    offset: int
    first: int = 0
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """After the last page."""

    kind: Literal["end"] = "end"
    path: tuple[str, ...] = field(default=())


Position = Start | AtUrl | AtToken | AtPage | AtOffset | Ended

_POSITION: TypeAdapter[Position] = TypeAdapter(Annotated[Position, Field(discriminator="kind")])


def count_before(position: Position) -> int | None:
    """Count the records before a position; None where it does not tell."""
    match position:
        case Start():
            return 0
        case AtPage(seen=seen):
            return seen
        case AtOffset(offset=offset, first=first):
            return offset - first
        case _:
            return None


def is_counted(position: Position) -> bool:
    """Whether a position counts what came before it, in pages or records."""
    match position:
        case AtPage() | AtOffset():
            return True
        case AtUrl(url=url):
            return any(counts(name, value) for name, value in parse_qsl(urlsplit(url).query))
        case AtToken(param=param, value=value):
            return counts(param, str(value))
        case _:
            return False


def to_cursor(position: Position) -> Any:
    """Make the cursor that stands for a position."""
    return _POSITION.dump_python(position, mode="json")


def from_cursor(cursor: Any) -> Position:
    """Read a cursor back; None is the start.

    Raises FatalConnectorError for what is no cursor of this connector.
    """
    if cursor is None:
        return Start()
    try:
        return _POSITION.validate_python(cursor)
    except ValidationError:
        raise FatalConnectorError(
            "the checkpoint holds no cursor of an HTTP source: was the job's source changed? "
            "Submit a new job, which begins at the start"
        ) from None
