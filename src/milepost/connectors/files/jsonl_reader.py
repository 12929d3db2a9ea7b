"""Reads JSON Lines: one record on each line."""

from dataclasses import asdict
from typing import BinaryIO

from pydantic_core import from_json

from milepost.connectors.connector import Cursor, Page, Record
from milepost.connectors.files.lines import Lines
from milepost.connectors.files.reader import LineCursor, from_cursor, to_cursor


class JsonLinesReader:
    """Reads line by line, so that a bad line can be named."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._lines = Lines(file, name)

    def go_to(self, cursor: Cursor) -> None:
        """Go on after a page of an earlier run."""
        place = from_cursor(cursor, LineCursor, "jsonl")
        self._lines.go_to(place)

    def read(self, limit: int) -> Page:
        """Read up to so many records; empty lines are none."""
        records: list[Record] = []
        while len(records) < limit and (line := self._lines.raw()) is not None:
            if line.isspace():
                continue
            try:
                record = from_json(line, allow_inf_nan=False)
            except ValueError as error:
                raise self._lines.wrong(f"not JSON: {error}") from None
            if type(record) is not dict:
                raise self._lines.wrong("not an object, and a record is one")
            records.append(record)
        cursor = LineCursor(format="jsonl", **asdict(self._lines.place))
        return Page(records, to_cursor(cursor), last=len(records) < limit)
