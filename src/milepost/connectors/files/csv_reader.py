"""Reads CSV: a header, then one record for each row, whose fields may hold line ends."""

import csv
from dataclasses import asdict
from typing import BinaryIO

from milepost.connectors.connector import Cursor, Page, Record
from milepost.connectors.files.lines import Lines
from milepost.connectors.files.reader import LineCursor, from_cursor, to_cursor
from milepost.connectors.files.values import convert

# Of several, the first that the header has: spreadsheets write what their language is used to.
_DELIMITERS = ",\t;|"


class CsvReader:
    """Reads rows through the csv module, which takes no more lines than a row has."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        header = file.readline(1024 * 1024)
        file.seek(0)
        delimiter = next((char for char in _DELIMITERS if char.encode() in header), ",")
        self._lines = Lines(file, name)
        self._rows = csv.reader(self._lines, delimiter=delimiter, strict=True)
        self._header = self._row() or []
        for number, field in enumerate(self._header, start=1):
            if not field:
                raise self._lines.wrong(f"column {number} has no name")
            if field in self._header[: number - 1]:
                raise self._lines.wrong(f"two columns are named {field!r}")

    def go_to(self, cursor: Cursor) -> None:
        """Go on after a page of an earlier run."""
        place = from_cursor(cursor, LineCursor, "csv")
        self._lines.go_to(place)

    def read(self, limit: int) -> Page:
        """Read up to so many rows; empty lines are none."""
        header, width = self._header, len(self._header)
        records: list[Record] = []
        while len(records) < limit:
            row = self._row()
            if row is None:
                break
            if len(row) != width:
                raise self._lines.wrong(f"{len(row)} fields, but the header has {width}")
            records.append(dict(zip(header, map(convert, row), strict=True)))
        cursor = LineCursor(format="csv", **asdict(self._lines.place))
        return Page(records, to_cursor(cursor), last=len(records) < limit)

    def _row(self) -> list[str] | None:
        begins = self._lines.place.line + 1
        try:
            for row in self._rows:
                if row:
                    return row
                begins = self._lines.place.line + 1
        except csv.Error as error:
            problem = str(error)
            if "unexpected end of data" in problem or "field limit" in problem:
                problem = f"a quote is opened here and not closed ({problem})"
            raise self._lines.wrong(problem, line=begins) from None
        return None
