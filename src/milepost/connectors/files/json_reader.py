"""Reads a JSON document, which must fit into memory."""

import os
import zlib
from typing import BinaryIO

from pydantic_core import from_json

from milepost.connectors.connector import Cursor, Page
from milepost.connectors.files.lines import changed
from milepost.connectors.files.reader import IndexCursor, from_cursor, to_cursor
from milepost.connectors.finding import find_path, missing, records_at, resolve
from milepost.connectors.naming import table_name
from milepost.connectors.sources import FileSource
from milepost.errors import FatalConnectorError


class JsonReader:
    """Decodes the whole file, then hands out slices of its list of records."""

    def __init__(self, file: BinaryIO, source: FileSource) -> None:
        self._name = source.path
        size = os.fstat(file.fileno()).st_size
        if size > source.max_json_bytes:
            raise FatalConnectorError(
                f"{source.path} is {size:,} bytes, and a JSON file is read as a whole, up to "
                f"{source.max_json_bytes:,}: convert it to JSON Lines, which may have any size "
                "(jq -c '.[]')"
            )
        content = file.read()
        self._crc = zlib.crc32(content)
        self._index = 0
        try:
            document = from_json(content.removeprefix(b"\xef\xbb\xbf"), allow_inf_nan=False)
            wanted = source.records_path
            path = (
                find_path(document, table_name(source.path), has_marks=lambda: True)
                if wanted is None
                else resolve(document, wanted)
            )
            records = records_at(document, path)
        except ValueError as error:
            hint = "; is it JSON Lines? Pass --format jsonl" if "trailing" in str(error) else ""
            raise FatalConnectorError(f"{source.path} is not JSON: {error}{hint}") from None
        except FatalConnectorError as error:
            raise FatalConnectorError(f"{source.path}: {error}") from None
        if records is None:
            raise FatalConnectorError(f"{source.path}: {missing(document, path)}")
        self._records = records

    def go_to(self, cursor: Cursor) -> None:
        """Go on after a page of an earlier run."""
        place = from_cursor(cursor, IndexCursor, "json")
        if place.crc != self._crc:
            raise changed(self._name, f"record {place.index}")
        self._index = place.index

    def read(self, limit: int) -> Page:
        """Take the next slice."""
        records = self._records[self._index : self._index + limit]
        self._index += len(records)
        total = len(self._records)
        cursor = to_cursor(IndexCursor(index=self._index, crc=self._crc))
        return Page(records, cursor, last=self._index >= total, total=total)
