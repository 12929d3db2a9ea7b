"""`download-records`: from a source into a snapshot, resumable at every page."""

from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from milepost.connectors import (
    Connector,
    Page,
    Secrets,
    Source,
    open_connector,
)
from milepost.downloads.destinations import destination, plain_password
from milepost.downloads.doubts import doubt
from milepost.downloads.keys import decide
from milepost.downloads.writing import begin, finish, store
from milepost.errors import (
    AuthenticationRefused,
    FatalConnectorError,
    RecordRejected,
    RetryableConnectorError,
    SnapshotError,
    Snooze,
    Unrecoverable,
)
from milepost.jobs.context import JobContext
from milepost.jobs.definition import job
from milepost.jobs.progress import Part, Progress
from milepost.snapshots import Mode, TableSpec, count_unseen
from milepost.store.database import Database, open_database

# A source may name any moment, by mistake too.
LONGEST_SNOOZE: Final = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class DownloadRecords:
    """What to copy where. All of it may be stored: secrets stand as `$NAME`."""

    source: Source
    into: str
    """The database of the snapshot: the path of a SQLite file, or a URL, `user:$PASSWORD@host`."""
    tables: tuple[str, ...] = ()
    """Empty: all that the source has."""
    key: tuple[str, ...] | None = None
    """The fields that tell records apart. None: what the source says, else `id`."""
    mode: Mode | None = None
    """None: upsert. `append` and `replace` are for records without a key."""
    allow_mass_deletion: bool = False
    """Believe a source that no longer has all the records of a table, or half of them."""

    def __post_init__(self) -> None:
        """Refuse a password in plain text."""
        problem = plain_password(self.into)
        if problem is not None:
            raise ValueError(problem)


@dataclass(frozen=True)
class TableState:
    """How far one table is. `read` counts records; `total` is the source's own count.

    `had` counts the rows when the pass began. `counted`: its pages were, so that it may have missed
    a record that lives. `steady`: every page told the same total. `kept` says why no row was taken
    for gone.
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
    finished: bool = False


@dataclass(frozen=True)
class Position:
    """The checkpoint: every table that was begun."""

    tables: dict[str, TableState] = field(default_factory=dict)

    def with_table(self, name: str, state: TableState) -> "Position":
        """The position after something happened to one table."""
        return Position({**self.tables, name: state})


@dataclass(frozen=True)
class TableDownloaded:
    """What came of one table. `deleted`: rows newly marked (or removed) as gone at the source.

    `kept` says why none was, where the pass gave reason to doubt that they are gone.
    """

    records: int
    pages: int
    deleted: int
    kept: str | None = None


@dataclass(frozen=True)
class Downloaded:
    """The result: what came of each table."""

    tables: dict[str, TableDownloaded]

    @property
    def records(self) -> int:
        """Records read in all tables."""
        return sum(table.records for table in self.tables.values())


@job("download-records", queue="downloads", max_attempts=5)
async def download_records(
    ctx: JobContext[Position], args: DownloadRecords, *, secrets: Secrets
) -> Downloaded:
    """Copy the tables of a source, page by page; each page and its checkpoint are one commit."""
    try:
        database = open_database(destination(args.into, secrets))
        connector = open_connector(
            args.source, secrets, on_wait=lambda why, wait: _say_wait(ctx, why, wait)
        )
        try:
            await ctx.keep_checkpoint_in(database)
            return await _Download(ctx, args, connector, database).run()
        finally:
            await connector.aclose()
            database.close()
    except RetryableConnectorError as error:
        if error.retry_after is None:
            raise
        # The source says when to come back: that is no failure of the job.
        raise Snooze(min(error.retry_after, LONGEST_SNOOZE), str(error)) from error
    except (AuthenticationRefused, FatalConnectorError, SnapshotError) as error:
        raise Unrecoverable(str(error)) from error


def _say_wait(ctx: JobContext[Position], why: str, wait: timedelta) -> None:
    ctx.log.warning("%s; waiting %.1f s", why, wait.total_seconds())


class _Download:
    """One attempt of the download."""

    def __init__(
        self,
        ctx: JobContext[Position],
        args: DownloadRecords,
        connector: Connector,
        database: Database,
    ) -> None:
        self._ctx = ctx
        self._args = args
        self._connector = connector
        self._database = database

    async def run(self) -> Downloaded:
        offered = {table.name: table.key for table in await self._connector.tables()}
        unknown = [name for name in self._args.tables if name not in offered]
        if unknown:
            raise FatalConnectorError(
                f"the source has no table {', '.join(map(repr, unknown))}; "
                f"it has: {', '.join(offered) or 'none'}"
            )
        for name in self._args.tables or offered:
            if not self._state(name).finished:
                await self._table(name, offered[name])
        return Downloaded(
            {
                name: TableDownloaded(state.read, state.pages, state.deleted, state.kept)
                for name, state in self._ctx.checkpoint.tables.items()
            }
        )

    def _state(self, name: str) -> TableState:
        return self._ctx.checkpoint.tables.get(name, TableState())

    async def _table(self, name: str, source_key: tuple[str, ...]) -> None:
        state = self._state(name)
        if not state.complete:
            # One after the other: a page that was fetched ahead would be asked for again after a
            # crash, beside the one that was being written.
            async with aclosing(self._connector.pages(name, after=state.cursor)) as pages:
                async for page in pages:
                    if not self._state(name).pass_number:
                        await self._begin(name, source_key, page)
                    await self._page(name, page)
            if not self._state(name).complete:
                raise RetryableConnectorError(
                    f"table {name!r}: the source's pages end without a last one"
                )
        await self._finish(name)

    async def _begin(self, name: str, source_key: tuple[str, ...], page: Page) -> None:
        key, mode = await self._database.query(
            decide, name, page.records,
            key=self._args.key, mode=self._args.mode, source_key=source_key,
        )  # fmt: skip
        # A number that gets lost with the process only leaves a gap: the pass begins again.
        begun: list[tuple[int, int]] = []
        await self._ctx.save(self._ctx.checkpoint, begin, TableSpec(name, key, mode), begun)
        [(number, had)] = begun
        state = TableState(key=key, mode=mode, pass_number=number, had=had)
        self._ctx.checkpoint = self._ctx.checkpoint.with_table(name, state)

    async def _page(self, name: str, page: Page) -> None:
        state = self._state(name)
        after = replace(
            state,
            cursor=page.cursor,
            pages=state.pages + 1,
            read=state.read + len(page.records),
            total=page.total if page.total is not None else state.total,
            counted=state.counted or page.counted,
            steady=state.steady
            and page.total is not None
            and page.total == (state.total if state.pages else page.total),
            complete=page.last,
        )
        position = self._ctx.checkpoint.with_table(name, after)
        try:
            await self._ctx.save(
                position, store, _spec(name, state), page.records, state.pass_number,
                datetime.now(UTC), progress=_progress(position, f"{name}: page {after.pages}"),
            )  # fmt: skip
        except RecordRejected as error:
            where = f"record {state.read + error.index + 1}"
            what = "" if error.field is None else f", field {error.field!r}"
            raise Unrecoverable(
                f"table {name!r}, {where}{what}: {error.reason}; "
                f"the {state.read} records before its page are stored"
            ) from error

    async def _finish(self, name: str) -> None:
        state = self._state(name)
        spec = _spec(name, state)
        # Nobody else writes here, so what is counted now is what the next commit marks.
        unseen = await self._database.query(count_unseen, spec, state.pass_number)
        gone = unseen
        if state.counted:
            gone = await self._database.query(count_unseen, spec, state.pass_number, twice=True)
        sure = not state.counted or (state.steady and state.read == state.total)
        kept = doubt(
            state.mode, read=state.read, total=state.total, had=state.had, unseen=unseen,
            gone=gone, sure=sure, allowed=self._args.allow_mass_deletion,
        )  # fmt: skip
        if kept is not None:
            self._ctx.log.warning("%s: %s", name, kept)
            position = self._ctx.checkpoint.with_table(
                name, replace(state, kept=kept, finished=True)
            )
            await self._ctx.save(position, progress=_progress(position, f"{name}: all rows kept"))
            return
        position = self._ctx.checkpoint.with_table(
            name, replace(state, deleted=gone, finished=True)
        )
        await self._ctx.save(
            position, partial(finish, twice=state.counted), spec, state.pass_number,
            datetime.now(UTC), progress=_progress(position, f"{name}: complete"),
        )  # fmt: skip


def _spec(name: str, state: TableState) -> TableSpec:
    return TableSpec(name, state.key, state.mode)


def _progress(position: Position, message: str) -> Progress:
    states = position.tables
    # A finished table has as many records as were read, whatever its source had announced.
    totals = {name: state.read if state.finished else state.total for name, state in states.items()}
    known = [total for total in totals.values() if total is not None]
    return Progress(
        sum(state.read for state in states.values()),
        sum(known) if len(known) == len(states) else None,
        message,
        {name: Part(state.read, totals[name]) for name, state in states.items()},
    )
