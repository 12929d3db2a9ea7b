"""What the programs of several protocols say, as values."""

from dataclasses import dataclass
from typing import Any, Final

_EXCERPT: Final = 120


@dataclass(frozen=True, slots=True)
class RecordSaid:
    """One record of a stream."""

    stream: str
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StateSaid:
    """Where the program may begin next time: all that came before it is covered."""

    state: Any


def excerpt_of(line: bytes) -> str:
    """Show the beginning of a line."""
    text = line[:_EXCERPT].decode(errors="replace").strip()
    return f"{text!r} …" if len(line) > _EXCERPT else repr(text)
