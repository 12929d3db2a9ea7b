"""Reads Parquet, one row group after the other, a part of each at a time."""

import zlib
from collections.abc import Iterator
from typing import Any, Final

from milepost.connectors.connector import Record
from milepost.connectors.files.content import Content
from milepost.connectors.files.cursors import RowPlace
from milepost.connectors.files.extras import needs
from milepost.connectors.files.reader import Batch
from milepost.connectors.files.source import FileSource
from milepost.connectors.files.storage import changed
from milepost.errors import FatalConnectorError

_MAGIC: Final = b"PAR1"
_TAIL: Final = 8
_LARGEST_FOOTER: Final = 256 * 1024 * 1024


class ParquetReader:
    """Reads the columns that are wanted, and skips whole row groups when it goes on."""

    def __init__(self, content: Content, source: FileSource, after: RowPlace | None) -> None:
        with needs("Parquet", "parquet"):
            import pyarrow as pa
            from pyarrow.parquet import ParquetFile

            from milepost.connectors.files.parquet_values import json_values
        self._json_values = json_values
        self._shown = content.shown
        raw = content.in_any_order()
        self._crc = _footer_crc(raw, self._shown)
        self._errors = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError)
        try:
            # Not buffered ahead: a row group may be larger than the memory.
            self._file = ParquetFile(pa.PythonFile(raw, mode="r"), pre_buffer=False)
        except (*self._errors, pa.ArrowException) as error:
            raise FatalConnectorError(f"{self._shown} is not Parquet: {error}") from None
        names = self._file.schema_arrow.names
        unknown = [name for name in source.columns if name not in names]
        if unknown:
            raise FatalConnectorError(
                f"{self._shown} has no column {', '.join(map(repr, unknown))}; it has "
                f"{', '.join(names)}"
            )
        if len(set(names)) < len(names):
            raise FatalConnectorError(f"{self._shown}: two columns have one name")
        self._columns = list(source.columns) or None
        self._page_size = source.page_size
        self._group = self._row = 0
        self._rows: list[Record] = []
        if after is not None:
            if after.crc != self._crc:
                raise changed(self._shown, f"row {after.row} of row group {after.group}")
            self._group, self._row = after.group, after.row
            if self._row >= self._file.metadata.row_group(self._group).num_rows:
                self._group, self._row = self._group + 1, 0
        self._batches = self._read_groups(self._group, self._row)

    @property
    def found(self) -> str:
        """Say how large it is."""
        told = self._file.metadata
        return f"Parquet, columns: {told.num_columns}, row groups: {told.num_row_groups}"

    @property
    def place(self) -> RowPlace:
        """After which row of which row group."""
        return RowPlace(group=self._group, row=self._row, crc=self._crc)

    def read(self, limit: int) -> Batch:
        """Read up to so many rows, of one row group or of several."""
        records: list[Record] = []
        ended = False
        while len(records) < limit and not ended:
            if not self._rows:
                following = next(self._batches, None)
                if following is None:
                    ended = True
                    break
                self._group, self._row, self._rows = following
            taken = self._rows[: limit - len(records)]
            self._rows = self._rows[len(taken) :]
            self._row += len(taken)
            records += taken
        return Batch(records, ended=ended, total=self._file.metadata.num_rows)

    def _read_groups(self, group: int, row: int) -> Iterator[tuple[int, int, list[Record]]]:
        """Yield pieces of row groups, each with its group and its first row."""
        for number in range(group, self._file.num_row_groups):
            at = 0
            skipped = row if number == group else 0
            try:
                for batch in self._file.iter_batches(
                    self._page_size, row_groups=[number], columns=self._columns, use_threads=False
                ):
                    begin, at = at, at + batch.num_rows
                    if at <= skipped:
                        continue
                    piece = batch.slice(max(skipped - begin, 0))
                    yield number, max(skipped, begin), self._records(piece)
            except (*self._errors, OSError) as error:
                # What cannot be unpacked is for Arrow an error of the system, without its number.
                if isinstance(error, OSError) and (type(error) is not OSError or error.errno):
                    raise
                raise FatalConnectorError(
                    f"{self._shown}, row group {number} after row {at}: {error}"
                ) from None

    def _records(self, batch: Any) -> list[Record]:
        names = batch.schema.names
        columns = [
            self._json_values(column, f"{self._shown}, column {name!r}")
            for name, column in zip(names, batch.columns, strict=True)
        ]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _footer_crc(raw: Any, shown: str) -> int:
    """Sum up the metadata, which says of each row group where it is and what it holds."""
    size = raw.seek(0, 2)
    if size < _TAIL + len(_MAGIC):
        raise FatalConnectorError(f"{shown} is not Parquet: it has {size} bytes")
    raw.seek(size - _TAIL)
    tail = raw.read(_TAIL)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or not 0 < length <= min(size - _TAIL, _LARGEST_FOOTER):
        raise FatalConnectorError(
            f"{shown} is not Parquet, or was copied in part: it does not end as Parquet does"
        )
    raw.seek(size - _TAIL - length)
    crc = zlib.crc32(raw.read(length), zlib.crc32(tail))
    raw.seek(0)
    return crc
