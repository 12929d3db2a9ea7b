"""How PostgreSQL's values are loaded: as the text that the server writes, but for a few types.

psycopg's own loaders make objects of Python, which know no infinity and no year before 1, and lose
the months of an interval.
"""

from typing import Any, Final

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.string import TextLoader

from milepost.connectors.sql.values import encoded, floating, parsed

_AS_TEXT: Final = (
    "cidr",
    "date",
    "daterange",
    "datemultirange",
    "inet",
    "int4range",
    "int4multirange",
    "int8range",
    "int8multirange",
    "interval",
    "numeric",
    "nummultirange",
    "numrange",
    "record",
    "time",
    "timetz",
    "tsmultirange",
    "tsrange",
    "tstzmultirange",
    "tstzrange",
    "uuid",
)


class _Float(Loader):
    def load(self, data: Buffer) -> Any:
        return floating(float(bytes(data)))


class _Json(Loader):
    def load(self, data: Buffer) -> Any:
        return parsed(bytes(data))


class _Bytes(Loader):
    def load(self, data: Buffer) -> Any:
        # \x, as the setting bytea_output has it.
        return encoded(bytes.fromhex(bytes(data)[2:].decode()))


class _Timestamp(Loader):
    def load(self, data: Buffer) -> Any:
        return _iso(bytes(data).decode())


class _TimestampWithZone(Loader):
    def load(self, data: Buffer) -> Any:
        written = _iso(bytes(data).decode())
        # The session's zone is UTC.
        return f"{written}:00" if written[10:11] == "T" else written


def register(connection: psycopg.Connection) -> None:
    """Let a connection load values so."""
    loaders: dict[str, type[Loader]] = {
        **dict.fromkeys(_AS_TEXT, TextLoader),
        "float4": _Float,
        "float8": _Float,
        "json": _Json,
        "jsonb": _Json,
        "bytea": _Bytes,
        "timestamp": _Timestamp,
        "timestamptz": _TimestampWithZone,
    }
    for name, loader in loaders.items():
        connection.adapters.register_loader(name, loader)


def _iso(written: str) -> str:
    """Write a moment of the years 1 to 9999 in ISO 8601; leave any other as it is."""
    if written[10:11] != " " or written.endswith("BC"):
        return written
    return f"{written[:10]}T{written[11:]}"
