"""Reads one table from a CSV, JSON or JSON Lines file, page by page."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from milepost.connectors.connector import Cursor, Page, Table
from milepost.connectors.files.csv_reader import CsvReader
from milepost.connectors.files.json_reader import JsonReader
from milepost.connectors.files.jsonl_reader import JsonLinesReader
from milepost.connectors.files.reader import Reader
from milepost.connectors.naming import table_name
from milepost.connectors.sources import FileFormat, FileSource
from milepost.errors import FatalConnectorError, RetryableConnectorError

_FORMATS: Mapping[str, FileFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


class FileConnector:
    """One use of a file; opened anew for each walk over it."""

    def __init__(self, source: FileSource) -> None:
        self._source = source
        self._table = table_name(source.path)
        self._format: FileFormat = source.format
        if source.format == "auto":
            suffix = Path(source.path).suffix.lower()
            if suffix not in _FORMATS:
                raise FatalConnectorError(
                    f"{source.path}: its name does not tell the format; pass --format csv, json "
                    "or jsonl (and unpack it first, if it is packed)"
                )
            self._format = _FORMATS[suffix]

    async def tables(self) -> Sequence[Table]:
        """Name the one table after the file."""
        await asyncio.to_thread(self._check_readable)
        return [Table(self._table)]

    async def pages(self, table: str, *, after: Cursor) -> AsyncGenerator[Page]:
        """Read the pages after a cursor."""
        if table != self._table:
            raise FatalConnectorError(
                f"no table {table!r} in {self._source.path}; it has {self._table}"
            )
        file = await asyncio.to_thread(self._open)
        try:
            reader = await asyncio.to_thread(self._reader, file, after)
            last = False
            while not last:
                page = await asyncio.to_thread(self._read, reader)
                last = page.last
                yield page
        finally:
            file.close()

    async def aclose(self) -> None:
        """Do nothing: each walk closes its own file."""

    def _check_readable(self) -> None:
        self._open().close()

    def _open(self) -> BinaryIO:
        path = Path(self._source.path).expanduser()
        with self._named_errors():
            # Looked at before it is opened: opening a pipe waits for its writer.
            if path.exists() and not (path.is_file() or path.is_dir()):
                raise FatalConnectorError(
                    f"{self._source.path}: not a regular file: it could not be resumed; save it to "
                    "a file first"
                )
            return path.open("rb")

    def _reader(self, file: BinaryIO, after: Cursor) -> Reader:
        with self._named_errors():
            reader: Reader
            match self._format:
                case "csv":
                    reader = CsvReader(file, self._source.path)
                case "json":
                    reader = JsonReader(file, self._source)
                case _:
                    reader = JsonLinesReader(file, self._source.path)
            if after is not None:
                reader.go_to(after)
            return reader

    def _read(self, reader: Reader) -> Page:
        with self._named_errors():
            return reader.read(self._source.page_size)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise FatalConnectorError(f"{self._source.path}: {error.strerror}") from None
        except OSError as error:
            # A disk or a network share that may come back.
            raise RetryableConnectorError(f"{self._source.path}: {error.strerror}") from None
