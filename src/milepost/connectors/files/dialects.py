"""Tells how a CSV file is written: what stands between fields, and around them."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from milepost.connectors.files.source import FileSource

# In this order where a file could be read with several: as spreadsheets write most often.
DELIMITERS: Final = ",\t;|"
_ENOUGH_ROWS: Final = 200


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way to write CSV. An empty quote: none is used. No escape: a quote is doubled."""

    delimiter: str
    quote: str = '"'
    escape: str | None = None

    def __str__(self) -> str:
        quote = f"quote {self.quote}" if self.quote else "no quotes"
        escape = f", escape {self.escape}" if self.escape else ""
        return f"delimiter {self.delimiter!r}, {quote}{escape}"

    def rows(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """Read rows. The csv module takes no more lines than a row has."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            escapechar=self.escape,
            doublequote=True,
            strict=True,
        )


def dialect_of(lines: Sequence[str], source: FileSource) -> Dialect:
    """Find the dialect in which the first rows have the most fields, the same number in all.

    Where there is none, the first delimiter is taken that the first line has. What the source says
    is not looked for. The last line may be cut, so it is left out where there are others.
    """
    best, most = None, 1
    for dialect in _candidates(lines, source):
        width = _width(lines, dialect)
        if width > most:
            best, most = dialect, width
    if best is not None:
        return best
    first = lines[0] if lines else ""
    delimiter = next((char for char in DELIMITERS if char in first), ",")
    return Dialect(
        source.delimiter or delimiter,
        '"' if source.quote is None else source.quote,
        source.escape,
    )


def _candidates(lines: Sequence[str], source: FileSource) -> Iterator[Dialect]:
    delimiters = DELIMITERS if source.delimiter is None else source.delimiter
    quotes = _quotes(lines) if source.quote is None else [source.quote]
    # A quote that is doubled comes first: a path may well end with a backslash.
    escapes = [None, "\\"] if source.escape is None else [source.escape]
    for escape in escapes:
        if escape is not None and not any(escape in line for line in lines):
            continue
        for quote in quotes:
            for delimiter in delimiters:
                yield Dialect(delimiter, quote, escape)


def _quotes(lines: Sequence[str]) -> list[str]:
    # An apostrophe is one, unless the first row has all its names in them.
    first = lines[0].strip() if lines else ""
    single = len(first) > 1 and first[0] == first[-1] == "'" and '"' not in first
    return ["'"] if single else ['"']


def _width(lines: Sequence[str], dialect: Dialect) -> int:
    """Count the fields of the rows; 0 where not all have as many, or they cannot be read so."""
    widths: set[int] = set()
    try:
        for number, row in enumerate(dialect.rows(iter(lines))):
            if row:
                widths.add(len(row))
            if number == _ENOUGH_ROWS or len(widths) > 1:
                break
    except csv.Error as error:
        # The sample may end inside a quoted field.
        if "unexpected end of data" not in str(error) or not widths:
            return 0
    return widths.pop() if len(widths) == 1 else 0
