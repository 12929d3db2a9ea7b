"""Reads the streams of a Singer tap, one run of it for each."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

from milepost.connectors import templates
from milepost.connectors.connector import Cursor, OnLog, Page, Report, Table
from milepost.connectors.programs.messages import RecordSaid, StateSaid, excerpt_of
from milepost.connectors.programs.paging import Pager
from milepost.connectors.programs.process import ProgramRun, RunFolder
from milepost.connectors.programs.program import Program, as_json, read
from milepost.connectors.secrets import Secrets
from milepost.connectors.singer.catalog import Catalog
from milepost.connectors.singer.messages import Message, VersionSaid, parse
from milepost.connectors.singer.source import SingerSource
from milepost.connectors.states import says_nothing
from milepost.connectors.trial import tried
from milepost.errors import FatalConnectorError

# Which stream was being read is no place in it.
_NO_PLACES: Final = ("currently_syncing",)


class SingerConnector:
    """One use of a tap.

    A run reads one stream only, so that what the tap tells of its place is that of one table.
    """

    def __init__(
        self, source: SingerSource, secrets: Secrets, *, on_log: OnLog | None = None
    ) -> None:
        self._source = source
        self._secrets = secrets
        self._program = Program(source.tap, source, secrets, package=source.package, on_log=on_log)
        self._catalog: Catalog | None = None

    async def tables(self) -> Sequence[Table]:
        """Ask the tap which streams it has, once."""
        if self._source.catalog is None and not self._source.discover:
            return [Table(name) for name in self._source.tables]
        catalog = await self._known()
        chosen = self._source.tables or catalog.chosen
        for name in (
            *chosen,
            *(each for more in self._source.select_with.values() for each in more),
        ):
            if name not in catalog.entries:
                raise FatalConnectorError(_no_stream(self._source.tap, name, catalog.entries))
        return [catalog.table(name) for name in chosen]

    async def pages(self, table: str, *, after: Cursor) -> AsyncGenerator[Page]:
        """Run the tap for one stream, from the STATE in a cursor."""
        known = {each.name for each in await self.tables()}
        if table not in known:
            raise FatalConnectorError(_no_stream(self._source.tap, table, sorted(known)))
        began = templates.fill(_from_cursor(after), self._secrets)
        catalog = self._catalog
        names = {table} if catalog is None else catalog.names_of(table)
        pager = Pager(names, self._source.page_size, began, cursor=self._cursor)
        version: Any = None
        async with self._running(table, catalog, began) as run:
            number = 0
            async with aclosing(run.lines()) as lines:
                async for batch in lines:
                    for line in batch:
                        number += 1
                        match self._parsed(line, number):
                            case RecordSaid() | StateSaid() as said:
                                if pager.take(said, len(line)):
                                    yield pager.page()
                            case VersionSaid(stream, declared) if stream in names:
                                version = declared
                            case _:
                                pass
        if version is not None and began is not None:
            self._program.log(
                f"{table}: the tap has read it in whole (version {version}), but began at a "
                "place: rows that are gone stay; --full marks them"
            )
        if pager.dropped:
            self._program.log(
                f"{pager.dropped:,} records of other streams than {table} were left out"
            )
        reads_all = catalog is not None and catalog.reads_all(table)
        yield pager.last_page(
            resumes=not reads_all and not says_nothing(pager.state, beside=_NO_PLACES)
        )

    async def test(self) -> Report:
        """Ask for the catalog, and for the first page of each stream."""
        return await tried(self)

    async def aclose(self) -> None:
        """Do nothing: each run is ended where it was begun."""

    async def install(self) -> str:
        """Find the tap's program, or install it where the source says how; returns its path."""
        return await self._program.install()

    @asynccontextmanager
    async def _running(
        self, table: str, catalog: Catalog | None, state: Any
    ) -> AsyncGenerator[ProgramRun]:
        await self.install()
        folder = RunFolder()
        arguments = ["--config", folder.write("config.json", self._program.config)]
        if catalog is not None:
            parents = catalog.parents_of(table)
            streams = {table, *parents, *self._source.select_with.get(table, ())}
            selecting = catalog.selecting(streams)
            arguments += [self._source.catalog_argument, folder.write("catalog.json", selecting)]
        if state is not None:
            arguments += ["--state", folder.write("state.json", state)]
        async with self._program.running(arguments, folder) as run:
            yield run

    async def _known(self) -> Catalog:
        if self._catalog is None:
            named = self._source.catalog
            if named is None:
                await self.install()
                folder = RunFolder()
                config = folder.write("config.json", self._program.config)
                said = await self._program.answer(["--config", config, "--discover"], folder)
                name = f"{self._source.tap} --discover"
            else:
                said, name = read(named), named
            self._catalog = Catalog.from_json(as_json(said, name, self._secrets), name=name)
        return self._catalog

    def _parsed(self, line: bytes, number: int) -> Message | None:
        if not line or line.isspace():
            return None
        try:
            return parse(line)
        except ValueError:
            problem = f"prints what is no Singer message: {excerpt_of(line)}"
        except FatalConnectorError as error:
            problem = str(error)
        raise FatalConnectorError(
            f"{self._source.tap}, line {number}: {self._secrets.hide(problem)}"
        )

    def _cursor(self, state: Any) -> Cursor:
        return {"singer": 1, "state": templates.seal(state, self._secrets)}


def _from_cursor(cursor: Cursor) -> Any:
    """Find the STATE in a cursor; None where the tap begins at its beginning.

    Raises FatalConnectorError for a cursor that is not of such a source.
    """
    match cursor:
        case None:
            return None
        case {"singer": 1, "state": state}:
            return state
        case _:
            raise FatalConnectorError("the place to go on from is not one of a Singer tap")


def _no_stream(tap: str, name: str, known: Any) -> str:
    return f"{tap} has no stream {name!r}; it has: {', '.join(known) or 'none'}"
