"""Reads JSON Lines: one record on each line."""

from dataclasses import asdict

from pydantic_core import from_json

from milepost.connectors.connector import Record
from milepost.connectors.files.content import Content, encoding_mark
from milepost.connectors.files.cursors import LinePlace
from milepost.connectors.files.lines import Lines, Place
from milepost.connectors.files.reader import Batch
from milepost.connectors.files.source import FileSource


class JsonLinesReader:
    """Reads line by line, so that a bad line can be named."""

    def __init__(self, content: Content, source: FileSource, after: LinePlace | None) -> None:
        self.found = decode_json(content, source)
        self._lines = Lines(content)
        self._raw = self._lines.raw()
        if after is not None:
            self._lines.go_to(Place(after.offset, after.line, after.crc))

    @property
    def place(self) -> LinePlace:
        """Where the last line ends."""
        return LinePlace(**asdict(self._lines.place))

    def read(self, limit: int) -> Batch:
        """Read up to so many records; empty lines are none."""
        records: list[Record] = []
        while len(records) < limit and (line := next(self._raw, None)) is not None:
            if line.isspace():
                continue
            try:
                record = from_json(line, allow_inf_nan=False)
            except ValueError as error:
                raise self._lines.wrong(f"not JSON: {error}") from None
            if type(record) is not dict:
                raise self._lines.wrong("not an object, and a record is one")
            records.append(record)
        return Batch(records, ended=len(records) < limit)


def decode_json(content: Content, source: FileSource) -> str:
    """Read JSON in UTF-8, as it has to be, unless a mark or the source says otherwise."""
    encoding = source.encoding or encoding_mark(content.peek()) or "utf-8"
    if encoding.lower().replace("_", "-") not in {"utf-8", "utf8", "ascii", "utf-8-sig"}:
        content.decode(encoding)
    return encoding
