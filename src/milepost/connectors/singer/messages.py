"""The lines of a tap as values."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from milepost.connectors.programs.messages import RecordSaid, StateSaid, excerpt_of
from milepost.errors import FatalConnectorError


@dataclass(frozen=True, slots=True)
class SchemaSaid:
    """What the records of a stream look like from here on."""

    stream: str
    schema: Mapping[str, Any]
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VersionSaid:
    """The stream consists of the records of this version only, once they all are there."""

    stream: str
    version: Any


Message = RecordSaid | StateSaid | SchemaSaid | VersionSaid


def parse(line: bytes) -> Message | None:
    """Read one line; None where nobody needs to know.

    Raises ValueError where it is no JSON, FatalConnectorError where it is no message of a tap.
    """
    said = json.loads(line)
    match said:
        case {"type": "RECORD", "stream": str(stream), "record": dict(record)}:
            return RecordSaid(stream, record)
        case {"type": "STATE", "value": state}:
            return StateSaid(state)
        case {"type": "SCHEMA", "stream": str(stream), "schema": dict(schema)}:
            return SchemaSaid(stream, schema, fields_of(said.get("key_properties")))
        case {"type": "ACTIVATE_VERSION", "stream": str(stream)}:
            return VersionSaid(stream, said.get("version"))
        case {"type": "BATCH"}:
            raise FatalConnectorError(
                "the tap hands over files (BATCH messages): turn that off in its config"
            )
        case {"type": str(type_)} if type_ not in {"RECORD", "STATE", "SCHEMA"}:
            return None
        case _:
            raise FatalConnectorError(f"no Singer message: {excerpt_of(line)}")


def fields_of(named: Any) -> tuple[str, ...]:
    """Read a list of names of fields, which taps also leave out or write as null."""
    match named:
        case str():
            return (named,)
        case Sequence():
            return tuple(str(each) for each in named)
        case _:
            return ()
