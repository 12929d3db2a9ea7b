"""Reads CSV: a header, then one record for each row, whose fields may hold line ends."""

import csv
from collections.abc import Iterator
from typing import Final

from milepost.connectors.connector import Record
from milepost.connectors.files.content import Content, is_wide
from milepost.connectors.files.cursors import CsvPlace
from milepost.connectors.files.dialects import Dialect, dialect_of
from milepost.connectors.files.encodings import GUESS, encoding_of, looks_western
from milepost.connectors.files.lines import Lines, Place
from milepost.connectors.files.reader import Batch
from milepost.connectors.files.source import FileSource
from milepost.connectors.files.unpacking import CHUNK
from milepost.connectors.files.values import convert
from milepost.errors import FatalConnectorError

_SAMPLE_LINES: Final = 500


class CsvReader:
    """Reads rows through the csv module, from the beginning or from a place of an earlier run."""

    def __init__(self, content: Content, source: FileSource, after: CsvPlace | None) -> None:
        self._encoding = _encoding(content, source) if after is None else after.encoding
        inner = self._encoding
        if is_wide(inner):
            content.decode(inner)
            inner = "utf-8"
        sample = _sample(content, inner)
        self._dialect = (
            dialect_of(sample, source)
            if after is None
            else Dialect(after.delimiter, after.quote, after.escape)
        )
        self._first = "header" if source.header else "first row"
        self._lines = Lines(content)
        self._guessed = inner == GUESS and source.encoding is None
        text = self._lines.text(inner)
        self._rows = self._dialect.rows(self._checked(text) if self._guessed else text)
        self._header = list(source.column_names) or _numbered(self._dialect, sample)
        if source.header:
            self._header = self._row() or []
            self._check_header()
        if after is not None:
            self._lines.go_to(Place(after.offset, after.line, after.crc))

    @property
    def found(self) -> str:
        """Say the encoding and the dialect."""
        guess = " (a guess, as it is not UTF-8)" if self._guessed else ""
        return f"{self._encoding}{guess}, {self._dialect}"

    @property
    def place(self) -> CsvPlace:
        """Where the last row ends."""
        place = self._lines.place
        return CsvPlace(
            offset=place.offset, line=place.line, crc=place.crc, encoding=self._encoding,
            delimiter=self._dialect.delimiter, quote=self._dialect.quote,
            escape=self._dialect.escape,
        )  # fmt: skip

    def read(self, limit: int) -> Batch:
        """Read up to so many rows; empty lines are none."""
        header, width = self._header, len(self._header)
        records: list[Record] = []
        while len(records) < limit and (row := self._row()) is not None:
            if len(row) != width:
                raise self._lines.wrong(f"{len(row)} fields, but the {self._first} has {width}")
            records.append(dict(zip(header, map(convert, row), strict=True)))
        return Batch(records, ended=len(records) < limit)

    def _row(self) -> list[str] | None:
        begins = self._lines.number + 1
        try:
            for row in self._rows:
                if row:
                    return row
                begins = self._lines.number + 1
        except csv.Error as error:
            problem = str(error)
            if "unexpected end of data" in problem or "field limit" in problem:
                problem = f"a quote is opened here and not closed ({problem})"
            raise self._lines.wrong(
                f"{problem}; it was read with {self._dialect}: if that is wrong, set --option "
                "delimiter=…, quote=… or escape=…",
                line=begins,
            ) from None
        return None

    def _checked(self, lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            if not (line.isascii() or looks_western(line)):
                raise self._lines.wrong(
                    f"it was read as {GUESS}, by a guess, and does not look so here: say what the "
                    "file is with --option encoding=…"
                )
            yield line

    def _check_header(self) -> None:
        for number, field in enumerate(self._header, start=1):
            if not field:
                raise self._lines.wrong(f"column {number} has no name")
            if field in self._header[: number - 1]:
                raise self._lines.wrong(f"two columns are named {field!r}")


def _numbered(dialect: Dialect, sample: list[str]) -> list[str]:
    # The first row says how many columns there are, as a header would.
    try:
        first = next((row for row in dialect.rows(iter(sample)) if row), [])
    except csv.Error:
        first = []
    return [f"column_{number}" for number in range(1, len(first) + 1)]


def _encoding(content: Content, source: FileSource) -> str:
    if source.encoding is not None:
        return source.encoding.lower()
    sample = content.peek()
    encoding = encoding_of(sample, whole=len(sample) < CHUNK)
    if encoding is None:
        raise FatalConnectorError(
            f"{content.shown} is not UTF-8, and does not look like cp1252 either: say what it is, "
            "such as --option encoding=cp1250, cp1251, latin-1 or utf-16-le"
        )
    return encoding


def _sample(content: Content, encoding: str) -> list[str]:
    sample = content.peek()
    text = sample.decode(encoding, "replace").removeprefix("\ufeff")
    # As lines end while reading: nowhere else.
    lines = [f"{line}\n" for line in text.split("\n")]
    # The last line may be cut where there is more, and is nothing after a line end.
    if len(sample) == CHUNK or lines[-1] == "\n":
        lines.pop()
    return lines[:_SAMPLE_LINES]
