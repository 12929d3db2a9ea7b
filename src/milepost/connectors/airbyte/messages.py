"""The lines of the Airbyte protocol as values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from milepost.connectors.programs.messages import RecordSaid, StateSaid


@dataclass(frozen=True, slots=True)
class LogSaid:
    """A line for people."""

    line: str


@dataclass(frozen=True, slots=True)
class ErrorSaid:
    """What stops it.

    `failure` is `config_error`, `transient_error` or `system_error`; empty where it cannot begin.
    """

    message: str
    detail: str
    failure: str


@dataclass(frozen=True, slots=True)
class CatalogSaid:
    """The streams that there are."""

    streams: list[Any]


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """A stream was read to its end, or was not."""

    stream: str
    status: Literal["COMPLETE", "INCOMPLETE"]


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """It has a new config, with a new refresh token for example, and wants it to be kept."""


Message = RecordSaid | StateSaid | LogSaid | ErrorSaid | CatalogSaid | StreamEnded | ConfigChanged


def parse(line: bytes, stream: str | None = None) -> Message | None:
    """Read one line; None where nobody needs to know. States are those of one stream.

    What is no message was printed for people, by a library or by the interpreter.
    """
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    match said:
        case {"type": "RECORD", "record": {"stream": str(name), "data": dict(record)}}:
            return RecordSaid(name, record)
        case {"type": "STATE", "state": {"stream": dict(state)}}:
            return _state(state, stream)
        case {"type": "LOG", "log": {"message": text, **more}}:
            return LogSaid(f"{more.get('level', 'INFO')} {text}")
        case {"type": "TRACE", "trace": {"type": "ERROR", "error": dict(error)}}:
            return ErrorSaid(
                str(error.get("message") or ""),
                str(error.get("internal_message") or ""),
                str(error.get("failure_type") or ""),
            )
        case {
            "type": "TRACE",
            "trace": {
                "stream_status": {
                    "stream_descriptor": {"name": str(name)},
                    "status": "COMPLETE" | "INCOMPLETE" as status,
                }
            },
        }:
            return StreamEnded(name, status)
        case {"type": "CATALOG", "catalog": {"streams": list(streams)}}:
            return CatalogSaid(streams)
        case {"type": "CONTROL"}:
            return ConfigChanged()
        case {"type": str()}:
            return None
        case _:
            return LogSaid(line.decode(errors="replace"))


def _state(said: Mapping[str, Any], stream: str | None) -> StateSaid | None:
    match said:
        case {"stream_descriptor": {"name": name}, "stream_state": dict(state)} if name == stream:
            # What the kit alone understands, "there is no cursor" for example, is no place.
            places = any(not key.startswith("__ab_") for key in state)
            return StateSaid(state) if places else None
        case _:
            return None
