"""Reads tables from a database, page by page."""

from collections.abc import AsyncGenerator, Sequence
from functools import partial

from sqlalchemy import Connection

from milepost.connectors.connector import Cursor, Page, Report, Table
from milepost.connectors.database_templates import filled_in
from milepost.connectors.secrets import Secrets
from milepost.connectors.sql.addresses import parse_address
from milepost.connectors.sql.catalog import list_tables, read_relation
from milepost.connectors.sql.crossing import Crossing
from milepost.connectors.sql.dialects import dialect_of
from milepost.connectors.sql.line import Line
from milepost.connectors.sql.source import SqlSource
from milepost.connectors.sql.trying import Tried, try_tables
from milepost.connectors.sql.walk import Walk
from milepost.errors import AuthenticationRefused, ConnectorError, FatalConnectorError


class SqlConnector:
    """One use of a database; each walk over a table has a connection of its own."""

    def __init__(self, source: SqlSource, secrets: Secrets) -> None:
        self._source = source
        self._secrets = secrets
        self._dialect = dialect_of(filled_in(parse_address(source.url), secrets), source)
        self._crossing = Crossing()

    async def tables(self) -> Sequence[Table]:
        """Name the tables, with their keys and columns."""
        line = self._line()
        try:
            return await self._crossing.run(partial(line.ask, self._tables), line.interrupt)
        finally:
            await self._crossing.finish(line.close)

    async def pages(self, table: str, *, after: Cursor) -> AsyncGenerator[Page]:
        """Read the pages after a cursor."""
        line = self._line()
        walk: Walk | None = None
        try:
            begin = partial(self._begin, table, after)
            walk = await self._crossing.run(partial(line.ask, begin), line.interrupt)
            last = False
            while not last:
                page = await self._crossing.run(partial(line.ask, walk.read), line.interrupt)
                last = page.last
                yield page
        finally:
            await self._crossing.finish(partial(self._end, line, walk))

    async def test(self) -> Report:
        """Ask for the version, the tables, and the right to read each of them."""
        line = self._line()
        try:
            found = await self._crossing.run(partial(line.ask, self._try), line.interrupt)
        except AuthenticationRefused as error:
            return Report(reached=True, authenticated=False, problem=str(error))
        except ConnectorError as error:
            admitted = line.is_open
            return Report(reached=admitted, authenticated=admitted, problem=str(error))
        finally:
            await self._crossing.finish(line.close)
        return Report(
            reached=True, authenticated=True, tables=found.tables, notes=found.notes,
            problem=found.problem,
        )  # fmt: skip

    async def aclose(self) -> None:
        """Let the thread go."""
        self._crossing.close()

    def _line(self) -> Line:
        return Line(self._dialect, self._secrets, self._source.url)

    def _tables(self, conn: Connection) -> list[Table]:
        names = list_tables(conn, self._dialect, self._source)
        return [
            read_relation(conn, self._dialect, self._source, name).described() for name in names
        ]

    def _begin(self, table: str, after: Cursor, conn: Connection) -> Walk:
        names = list_tables(conn, self._dialect, self._source)
        if table not in names:
            raise FatalConnectorError(
                f"no table {table!r} in this source; it has {', '.join(names) or 'none'}"
            )
        relation = read_relation(conn, self._dialect, self._source, table)
        walk = Walk(
            self._dialect, relation, size=self._source.page_size, look_back=self._source.look_back
        )
        walk.begin(conn, after)
        return walk

    def _end(self, line: Line, walk: Walk | None) -> None:
        cut = walk is not None and walk.is_within and self._dialect.drains
        try:
            if walk is not None and not cut:
                walk.stop()
        finally:
            line.close(cut=cut)

    def _try(self, conn: Connection) -> Tried:
        return try_tables(conn, self._dialect, self._tables(conn), self._source.schema)
