"""Chooses how a file is read."""

from typing import cast

from milepost.connectors.files.addresses import format_of
from milepost.connectors.files.content import Content
from milepost.connectors.files.csv_reader import CsvReader
from milepost.connectors.files.cursors import (
    CsvPlace,
    IndexPlace,
    LinePlace,
    Place,
    RowPlace,
    as_place,
)
from milepost.connectors.files.json_reader import JsonReader
from milepost.connectors.files.jsonl_reader import JsonLinesReader
from milepost.connectors.files.reader import Reader
from milepost.connectors.files.source import FileFormat, FileSource
from milepost.errors import FatalConnectorError


def format_for(address: str, shown: str, source: FileSource) -> FileFormat:
    """Take the format that the source says, else what the name of a file says.

    Raises FatalConnectorError if neither does.
    """
    named = format_of(address)
    if source.format != "auto":
        return source.format
    if named is None:
        raise FatalConnectorError(
            f"{shown}: its name does not tell the format; pass --format csv, json, jsonl or "
            "parquet (and unpack it first, if it is packed with anything but gzip or zstd)"
        )
    return cast("FileFormat", named)


def reader_of(content: Content, address: str, source: FileSource, after: Place | None) -> Reader:
    """Read a file from its beginning, or from a place of an earlier run."""
    file_format = format_for(address, content.shown, source)
    beginning = content.peek()[:64].lstrip().lower()
    if beginning.startswith((b"<!doctype html", b"<html")):
        raise FatalConnectorError(
            f"{content.shown} is an HTML page, not {file_format}. Is it a login page, or one for "
            "people? Give the URL of the file"
        )
    if source.columns and file_format != "parquet":
        raise FatalConnectorError(
            f"{content.shown}: columns can be chosen of Parquet files only; leave the option out"
        )
    match file_format:
        case "csv":
            return CsvReader(content, source, as_place(after, CsvPlace))
        case "json":
            return JsonReader(content, source, as_place(after, IndexPlace))
        case "parquet":
            # Imported here: its library is there only where somebody asked for it.
            from milepost.connectors.files.parquet_reader import ParquetReader

            return ParquetReader(content, source, as_place(after, RowPlace))
        case _:
            return JsonLinesReader(content, source, as_place(after, LinePlace))
