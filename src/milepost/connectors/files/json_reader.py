"""Reads a JSON document, which must fit into memory."""

import zlib

from pydantic_core import from_json

from milepost.connectors.files.content import Content
from milepost.connectors.files.cursors import IndexPlace
from milepost.connectors.files.jsonl_reader import decode_json
from milepost.connectors.files.reader import Batch
from milepost.connectors.files.source import FileSource
from milepost.connectors.files.storage import changed
from milepost.connectors.finding import find_path, missing, records_at, resolve
from milepost.connectors.naming import table_name
from milepost.errors import FatalConnectorError


class JsonReader:
    """Decodes the whole file, then hands out slices of its list of records."""

    def __init__(self, content: Content, source: FileSource, after: IndexPlace | None) -> None:
        self.found = decode_json(content, source)
        shown = content.shown
        raw = content.stream.read(source.max_json_bytes + 1)
        if len(raw) > source.max_json_bytes:
            raise FatalConnectorError(
                f"{shown} is larger than {source.max_json_bytes:,} bytes, and a JSON file is read "
                "as a whole: convert it to JSON Lines, which may have any size (jq -c '.[]'), or "
                "allow more with --option max_json_bytes=…"
            )
        self._crc = zlib.crc32(raw)
        try:
            document = from_json(raw.removeprefix(b"\xef\xbb\xbf"), allow_inf_nan=False)
            wanted = source.records_path
            path = (
                find_path(document, table_name(shown), has_marks=lambda: True)
                if wanted is None
                else resolve(document, wanted)
            )
            records = records_at(document, path)
        except ValueError as error:
            hint = "; is it JSON Lines? Pass --format jsonl" if "trailing" in str(error) else ""
            raise FatalConnectorError(f"{shown} is not JSON: {error}{hint}") from None
        except FatalConnectorError as error:
            raise FatalConnectorError(f"{shown}: {error}") from None
        if records is None:
            raise FatalConnectorError(f"{shown}: {missing(document, path)}")
        self._records = records
        self._index = 0 if after is None else after.index
        if after is not None and after.crc != self._crc:
            raise changed(shown, f"record {after.index}")

    @property
    def place(self) -> IndexPlace:
        """After how many records."""
        return IndexPlace(index=self._index, crc=self._crc)

    def read(self, limit: int) -> Batch:
        """Take the next slice."""
        records = self._records[self._index : self._index + limit]
        self._index += len(records)
        total = len(self._records)
        return Batch(records, ended=self._index >= total, total=total)
