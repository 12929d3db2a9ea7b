"""One walk over a table, page by page. It blocks, and runs on the connector's thread."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, CursorResult, Select, select

from milepost.connectors.connector import Cursor, Page
from milepost.connectors.sql.catalog import Relation
from milepost.connectors.sql.dialect import Column, Dialect
from milepost.connectors.sql.keyset import after
from milepost.connectors.sql.marks import (
    AT_THE_END,
    Bookmark,
    Place,
    dump,
    dump_all,
    from_cursor,
    load,
    load_all,
    to_cursor,
)
from milepost.errors import FatalConnectorError

Row = Sequence[Any]


class Walk:
    """Reads on from a cursor."""

    def __init__(
        self, dialect: Dialect, relation: Relation, *, size: int, look_back: timedelta
    ) -> None:
        self._dialect = dialect
        self._relation = relation
        self._size = size
        self._look_back = look_back
        self._order: tuple[Column, ...] = relation.order
        self._place = Place(order=(), after=())
        self._stream: CursorResult[Any] | None = None
        self._ahead: list[Row] = []
        self._ended = False

    def begin(self, conn: Connection, cursor: Cursor) -> None:
        """Find the place that a cursor is about.

        Raises FatalConnectorError for a cursor of another table or source.
        """
        at = None if cursor is None else from_cursor(cursor)
        growing = self._relation.growing
        match at:
            case Place(order=()):
                self._ended = True
                return
            case Place():
                since = at.since
            case Bookmark(column=name, since=since):
                if growing is None or growing.name != name:
                    raise self._changed(f"it was read by {name!r}")
            case _:
                since = None
        if since is not None and growing is not None:
            # Its nulls are not greater than anything, so they are not read.
            self._order = (replace(growing, nullable=False), *self._relation.order)
        names = tuple(column.name for column in self._order)
        if isinstance(at, Place):
            if at.order != names or len(at.after) != len(names):
                raise self._changed(f"its order was {', '.join(at.order)}")
            self._place = at
            return
        # Before anything is read: what changes from now on is greater, wherever it is read.
        newest = None
        if growing is not None:
            query = select(self._dialect.newest(growing)).select_from(self._relation.clause)
            newest = dump(conn.scalar(query))
        self._place = Place(order=names, after=(), newest=newest, since=since)

    def read(self, conn: Connection) -> Page:
        """Read a page."""
        if self._ended:
            return Page((), to_cursor(AT_THE_END), last=True)
        return self._after(conn) if self._order else self._streamed(conn)

    def _after(self, conn: Connection) -> Page:
        """Read what comes after the row that was the last one."""
        query = self._select(*(column.mark for column in self._order)).order_by(
            *(column.order for column in self._order)
        )
        if self._place.after:
            marks = load_all(self._place.after)
            query = query.where(after(self._dialect, self._order, marks))
        elif self._place.since is not None:
            [growing, *_] = self._order
            bound = self._dialect.since(growing, load(self._place.since), self._look_back)
            query = query.where(growing.order >= bound)
        # One more, which says whether there is more.
        rows = conn.execute(query.limit(self._size + 1)).fetchall()
        width = len(self._relation.columns)
        last = len(rows) <= self._size
        if not last and rows[-1][width:] == rows[-2][width:]:
            raise FatalConnectorError(
                f"table {self._relation.name!r}: two rows have the same "
                f"{', '.join(self._relation.key)}, so some would be missed: name a key that is "
                f'unique, with --option keys=\'{{"{self._relation.name}": ["COLUMN"]}}\''
            )
        kept = rows[: self._size]
        if kept:
            self._place = replace(self._place, after=dump_all(kept[-1][width:]))
        return Page(
            self._records(kept), to_cursor(self._place), last, bookmark=self._bookmark(last=last)
        )

    def _streamed(self, conn: Connection) -> Page:
        """Read on in one statement over the whole table; only its end is a place."""
        if self._stream is None:
            options = {"stream_results": True, "max_row_buffer": self._size}
            self._stream = conn.execute(self._select(), execution_options=options)
            self._ahead = list(self._stream.fetchmany(self._size))
        rows, self._ahead = self._ahead, []
        if len(rows) == self._size:
            self._ahead = list(self._stream.fetchmany(self._size))
        last = not self._ahead
        return Page(self._records(rows), to_cursor(AT_THE_END) if last else None, last)

    @property
    def is_within(self) -> bool:
        """Whether rows of one long statement are still to come."""
        return bool(self._ahead)

    def stop(self) -> None:
        """Close what is still open of the long statement."""
        if self._stream is not None:
            self._stream.close()

    def _select(self, *marks: Any) -> Select[Any]:
        columns = [
            column.read.label(f"c{index}") for index, column in enumerate(self._relation.columns)
        ]
        labelled = [mark.label(f"m{index}") for index, mark in enumerate(marks)]
        return select(*columns, *labelled).select_from(self._relation.clause)

    def _records(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        names = [column.name for column in self._relation.columns]
        converters = [
            (index, column.convert)
            for index, column in enumerate(self._relation.columns)
            if column.convert is not None
        ]
        records = []
        for row in rows:
            values = list(row[: len(names)])
            for index, convert in converters:
                if values[index] is not None:
                    values[index] = convert(values[index])
            records.append(dict(zip(names, values, strict=True)))
        return records

    def _bookmark(self, *, last: bool) -> Cursor:
        growing = self._relation.growing
        if not last or growing is None:
            return None
        # A pass over no row is no reason to read all of them again.
        since = self._place.newest if self._place.newest is not None else self._place.since
        return None if since is None else to_cursor(Bookmark(column=growing.name, since=since))

    def _changed(self, what: str) -> FatalConnectorError:
        return FatalConnectorError(
            f"table {self._relation.name!r} is not what the checkpoint knows: {what}; "
            "begin anew with --full"
        )
