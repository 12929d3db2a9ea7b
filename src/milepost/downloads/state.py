"""How far a download is, and what has come of it."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from milepost.connectors import Page
from milepost.snapshots import Counts, Mode


@dataclass(frozen=True)
class TableState:
    """How far one table is. `read` counts records; `total` is the source's own count.

    `had` counts the rows when the pass began. `counted`: its pages were, so that it may have missed
    a record that lives. `steady`: every page told the same total. `kept` says why no row was taken
    for gone. `partial`: the pass began at the bookmark of an earlier one, so it reads only what is
    new; `bookmark` is where the next one may begin. `skipped` counts what could not be read, and
    `counts`, at the end, what has become of the records.
    """

    key: tuple[str, ...] = ()
    mode: Mode = "upsert"
    pass_number: int = 0
    had: int = 0
    cursor: Any = None
    pages: int = 0
    read: int = 0
    total: int | None = None
    counted: bool = False
    steady: bool = True
    complete: bool = False
    deleted: int = 0
    kept: str | None = None
    partial: bool = False
    skipped: int = 0
    bookmark: Any = None
    finished: bool = False
    counts: Counts = field(default_factory=Counts)

    def beyond(self, page: Page) -> "TableState":
        """The state after a page is stored."""
        return replace(
            self,
            cursor=page.cursor,
            pages=self.pages + 1,
            read=self.read + len(page.records),
            total=page.total if page.total is not None else self.total,
            counted=self.counted or page.counted,
            steady=self.steady
            and page.total is not None
            and page.total == (self.total if self.pages else page.total),
            complete=page.last,
            skipped=self.skipped + len(page.skipped),
            bookmark=page.bookmark,
        )

    def outcome(self) -> "TableDownloaded":
        """What came of the table."""
        return TableDownloaded(
            records=self.read,
            pages=self.pages,
            deleted=self.deleted,
            kept=self.kept,
            partial=self.partial,
            skipped=self.skipped,
            **asdict(self.counts),
        )


@dataclass(frozen=True)
class Position:
    """The checkpoint: every table that was begun."""

    tables: dict[str, TableState] = field(default_factory=dict)

    def with_table(self, name: str, state: TableState) -> "Position":
        """The position after something happened to one table."""
        return Position({**self.tables, name: state})


@dataclass(frozen=True)
class TableDownloaded:
    """What came of one table: each record was inserted, updated, unchanged or put in quarantine.

    `misfits` counts the values that stand beside their column, because it could not hold them.
    `deleted`: rows newly marked (or removed) as gone at the source.

    `kept` says why none was, where the pass gave reason to doubt that they are gone. `partial`:
    only what was new since the last time was read, which tells nothing of what is gone. `skipped`
    counts the records that could not be read; the job's log has each.
    """

    records: int
    pages: int
    deleted: int
    kept: str | None = None
    partial: bool = False
    skipped: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    quarantined: int = 0
    misfits: int = 0


@dataclass(frozen=True)
class Downloaded:
    """The result: what came of each table."""

    tables: dict[str, TableDownloaded]

    @property
    def records(self) -> int:
        """Records read in all tables."""
        return sum(table.records for table in self.tables.values())
