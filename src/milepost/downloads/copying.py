"""One attempt of a download: table after table, page after page."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection

from milepost.connectors import Connector, Cursor, Page
from milepost.connectors.connector import ColumnType
from milepost.downloads.ahead import ahead
from milepost.downloads.args import DownloadRecords
from milepost.downloads.batches import batches
from milepost.downloads.doubts import doubt, left_out, missed
from milepost.downloads.keys import decide
from milepost.downloads.preparing import Batch, Preparing
from milepost.downloads.sources import Found
from milepost.downloads.state import Downloaded, Position, TableState
from milepost.downloads.writing import begin, end, finish, withdraw
from milepost.errors import (
    CursorExpired,
    FatalConnectorError,
    PageRefused,
    RecordRejected,
    RetryableConnectorError,
    SnapshotError,
    Unrecoverable,
)
from milepost.jobs.context import JobContext
from milepost.jobs.events import Observer, RecordsDownloaded
from milepost.jobs.progress import Part, Progress
from milepost.snapshots import (
    Kind,
    TableSpec,
    bookmark_of,
    count_living,
    count_unseen,
    destination_of,
    leave_bookmark,
    read_entry,
    write_carefully,
    write_page,
)
from milepost.store.database import Database


class Copying:
    """One attempt of the download."""

    def __init__(
        self,
        ctx: JobContext[Position],
        args: DownloadRecords,
        found: Found,
        connector: Connector,
        database: Database,
        *,
        observe: Observer,
    ) -> None:
        self._ctx = ctx
        self._args = args
        self._fingerprint = found.fingerprint
        self._kind = found.source.kind
        self._observe = observe
        self._connector = connector
        self._database = database
        # Those whose source has forgotten where the last pass ended.
        self._without_bookmark: set[str] = set()
        self._columns: Mapping[str, Mapping[str, Kind]] = {}

    async def run(self) -> Downloaded:
        """Copy what is not copied yet."""
        offered = {table.name: table for table in await self._connector.tables()}
        self._columns = {name: _kinds(table.columns) for name, table in offered.items()}
        unknown = [name for name in self._args.tables if name not in offered]
        if unknown:
            raise FatalConnectorError(
                f"the source has no table {', '.join(map(repr, unknown))}; "
                f"it has: {', '.join(offered) or 'none'}"
            )
        for name in self._args.tables or offered:
            if not self._state(name).finished:
                await self._table(name, offered[name].key)
        return Downloaded(
            {name: state.outcome() for name, state in self._ctx.checkpoint.tables.items()}
        )

    def _spec(self, name: str, state: TableState) -> TableSpec:
        history = self._args.history and bool(state.key)
        columns = self._columns.get(name, {})
        return TableSpec(name, state.key, state.mode, history=history, columns=columns)

    def _state(self, name: str) -> TableState:
        return self._ctx.checkpoint.tables.get(name, TableState())

    async def _table(self, name: str, source_key: tuple[str, ...]) -> None:
        try:
            await self._read(name, source_key)
        except CursorExpired as error:
            self._ctx.log.warning("%s: %s", name, error)
            self._without_bookmark.add(name)
            if self._state(name).pass_number:
                await self._anew(name, self._state(name))
            await self._read(name, source_key)
        await self._finish(name)

    async def _read(self, name: str, source_key: tuple[str, ...]) -> None:
        state = self._state(name)
        if state.pages and state.cursor is None and not state.complete:
            state = await self._anew(name, state)
        if not state.complete:
            after = state.cursor if state.pass_number else await self._bookmark(name)
            preparing = Preparing()
            async with (
                aclosing(self._connector.pages(name, after=after)) as asked,
                aclosing(self._traced(name, asked)) as pages,
                aclosing(self._batches(pages)) as batched,
                aclosing(self._prepared(batched, preparing)) as prepared,
            ):
                async for batch in prepared:
                    if not self._state(name).pass_number:
                        first = batch.pages[0]
                        await self._begin(name, source_key, first, partial=after is not None)
                    preparing.begin(self._spec(name, self._state(name)), self._database)
                    await self._store(name, batch)
            if not self._state(name).complete:
                raise RetryableConnectorError(
                    f"table {name!r}: the source's pages end without a last one"
                )

    async def _traced(self, name: str, pages: AsyncGenerator[Page]) -> AsyncGenerator[Page]:
        """Pass pages on; asking for one is a span."""
        number = self._state(name).pages
        page: Page | None = None
        while page is None or not page.last:
            number += 1
            with self._ctx.span("read page", table=name, page=number) as span:
                page = await anext(pages, None)
                if page is None:
                    return
                span.note(records=len(page.records))
            yield page
        async for page in pages:
            yield page

    async def _anew(self, name: str, state: TableState) -> TableState:
        """Forget a pass whose source has no place in the table to go on from."""
        begun = TableState()
        position = self._ctx.checkpoint.with_table(name, begun)
        await self._ctx.save(position, withdraw, self._spec(name, state), state.pass_number)
        self._ctx.log.info("%s: it is read from its first row on again", name)
        return begun

    async def _bookmark(self, name: str) -> Cursor:
        # replace keeps only what one pass has seen, so that has to be all.
        if self._args.anew or self._args.mode == "replace" or name in self._without_bookmark:
            return None
        return await self._database.query(bookmark_of, name, self._fingerprint)

    async def _begin(
        self, name: str, source_key: tuple[str, ...], page: Page, *, partial: bool
    ) -> None:
        key, mode = await self._database.query(
            decide, name, page.records,
            # The key that was asked for is that of the source's own tables.
            key=None if name in self._args.children else self._args.key,
            mode=self._args.mode, source_key=source_key,
        )  # fmt: skip
        # A number that gets lost with the process only leaves a gap: the pass begins again.
        begun: list[tuple[int, int]] = []
        state = TableState(key=key, mode=mode, partial=partial)
        await self._ctx.save(self._ctx.checkpoint, begin, self._spec(name, state), begun)
        [(number, had)] = begun
        state = replace(state, pass_number=number, had=had)
        self._ctx.checkpoint = self._ctx.checkpoint.with_table(name, state)

    def _batches(self, pages: AsyncGenerator[Page]) -> AsyncGenerator[list[Page]]:
        return batches(
            pages,
            enough=destination_of(self._database.engine).enough,
            within=self._args.commit_within,
            hurry=lambda: self._ctx.cancel.why is not None,
        )

    def _prepared(
        self, batched: AsyncGenerator[list[Page]], preparing: Preparing
    ) -> AsyncGenerator[Batch]:
        works_apart = destination_of(self._database.engine).works_apart
        if self._args.commit_within and works_apart:
            return ahead(batched, preparing.prepare)
        # Page by page: the next one is not asked for before this one is committed. Nor is anything
        # gained where this process writes with the interpreter's lock.
        return preparing.pass_on(batched)

    async def _store(self, name: str, batch: Batch) -> None:
        state = after = self._state(name)
        for page in batch.pages:
            after = after.beyond(page)
            for why in page.skipped:
                self._ctx.log.warning("%s: left out: %s", name, why)
        position = self._ctx.checkpoint.with_table(name, after)
        progress = _progress(position, f"{name}: page {after.pages}")
        given: Any = {
            "table": self._spec(name, state), "records": batch.records,
            "pass_number": state.pass_number, "synced_at": datetime.now(UTC),
            "first": state.read + 1, "quarantine_limit": self._args.quarantine_limit,
        }  # fmt: skip
        count = len(batch.records)
        try:
            with self._ctx.span("save pages", table=name, pages=len(batch.pages), records=count):
                try:
                    write = partial(write_page, **given, prepared=batch.prepared)
                    await self._ctx.save(position, write, progress=progress)
                except PageRefused as error:
                    self._ctx.log.warning("%s; it is looked for, and set aside", error)
                    carefully = partial(write_carefully, **given)
                    await self._ctx.save(position, carefully, progress=progress)
            self._observe(RecordsDownloaded(self._kind, count))
        except RecordRejected as error:
            where = f"record {state.read + error.index + 1}"
            what = "" if error.field is None else f", field {error.field!r}"
            raise Unrecoverable(
                f"table {name!r}, {where}{what}: {error.reason}; "
                f"the {state.read} records before its page are stored"
            ) from error

    async def _finish(self, name: str) -> None:
        state = await self._counted(name)
        bookmark = partial(
            leave_bookmark, table_name=name, source=self._fingerprint, cursor=state.bookmark
        )
        if state.partial:
            lacking = missed(state)
            if lacking is not None:
                # The next pass begins where this one did, and may find what it has missed.
                self._ctx.log.warning("%s: %s", name, lacking)
                after = replace(state, kept=lacking, finished=True)
                await self._end(name, after, self._ended(name, state, lacking), message=lacking)
                return
            after = replace(state, finished=True)
            ended = self._ended(name, state, None)
            await self._end(name, after, bookmark, ended, message="up to date")
            return
        spec = self._spec(name, state)
        # Nobody else writes here, so what is counted now is what the next commit marks.
        unseen = await self._database.query(count_unseen, spec, state.pass_number)
        gone = unseen
        if state.counted:
            gone = await self._database.query(count_unseen, spec, state.pass_number, twice=True)
        read = state.read
        if state.mode == "upsert":
            # A record that came twice hides one that did not come.
            read = await self._database.query(count_living, spec) - unseen
        sure = not state.counted or (state.steady and read == state.total)
        kept = left_out(state) or doubt(
            state.mode, read=read, total=state.total, had=state.had, unseen=unseen,
            gone=gone, sure=sure, allowed=self._args.allow_mass_deletion,
        )  # fmt: skip
        if kept is not None:
            self._ctx.log.warning("%s: %s", name, kept)
            after = replace(state, kept=kept, finished=True)
            # Where records did not come, a later pass that reads only what is new would not either.
            writes: list[Callable[[Connection], object]] = [
                self._ended(name, state, kept),
                *([] if missed(state) else [bookmark]),
            ]
            await self._end(name, after, *writes, message="all rows kept")
            return
        mark = partial(
            finish, table=spec, pass_number=state.pass_number, at=datetime.now(UTC),
            twice=state.counted,
        )  # fmt: skip
        after = replace(state, deleted=gone, finished=True)
        await self._end(name, after, bookmark, mark, message="complete")

    def _ended(
        self, name: str, state: TableState, kept: str | None
    ) -> Callable[[Connection], object]:
        return partial(
            end, table=self._spec(name, state), pass_number=state.pass_number,
            at=datetime.now(UTC), kept=kept,
        )  # fmt: skip

    async def _counted(self, name: str) -> TableState:
        """Read what has become of the records, and check that none is missing."""
        state = self._state(name)
        entry = await self._database.query(read_entry, name, state.pass_number)
        if entry.counts.records != state.read:
            raise SnapshotError(
                f"table {name!r}: {state.read:,} records were read, and the destination counts "
                f"{entry.counts.records:,}: {entry.counts}; was it changed meanwhile? Begin anew"
            )
        return replace(state, counts=entry.counts)

    async def _end(
        self, name: str, after: TableState, *writes: Callable[[Connection], object], message: str
    ) -> None:
        def write(conn: Connection) -> None:
            for each in writes:
                each(conn)

        position = self._ctx.checkpoint.with_table(name, after)
        await self._ctx.save(position, write, progress=_progress(position, f"{name}: {message}"))


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


def _kinds(declared: Mapping[str, ColumnType]) -> Mapping[str, Kind]:
    return {field: Kind(type_) for field, type_ in declared.items()}
