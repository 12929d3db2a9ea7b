"""Reads tables from files, page by page."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace

from milepost.connectors.connector import Cursor, Page, Report, Table
from milepost.connectors.files.addresses import (
    fixed_part,
    is_http,
    is_pattern,
    is_remote,
    table_of,
)
from milepost.connectors.files.formats import format_for
from milepost.connectors.files.fsspec_storage import FsspecStorage
from milepost.connectors.files.local import LocalStorage
from milepost.connectors.files.reading_thread import ReadingThread
from milepost.connectors.files.source import FileSource
from milepost.connectors.files.storage import Found, Storage
from milepost.connectors.files.walking import Walk
from milepost.connectors.files.web import WebStorage
from milepost.connectors.kinds import Access
from milepost.connectors.naming import table_name
from milepost.connectors.trial import tried
from milepost.errors import FatalConnectorError


class FileConnector:
    """One use of the files of a source; each walk opens them anew."""

    def __init__(self, source: FileSource, access: Access) -> None:
        self._source = source
        self._access = access
        self._found: list[str] = []
        self._storage: Storage | None = None
        self._web: WebStorage | None = None
        if not is_pattern(source.path) and not source.path.startswith("$"):
            format_for(source.path, source.path, source)

    async def tables(self) -> Sequence[Table]:
        """Name the tables after the files."""
        return [Table(name) for name in await self._tables()]

    async def pages(self, table: str, *, after: Cursor) -> AsyncGenerator[Page]:
        """Read the pages after a cursor."""
        tables = await self._tables()
        if table not in tables:
            raise FatalConnectorError(
                f"no table {table!r} in {self._source.path}; it has {', '.join(tables)}"
            )
        walk = Walk(self._opened(), self._source, after, self._note)
        thread = ReadingThread()
        try:
            await thread.run(walk.begin, tables[table])
            last = False
            while not last:
                page = await thread.run(walk.read)
                last = page.last
                yield page
        finally:
            # Nobody waits for a read that hangs; what is open is closed when it ends.
            walk.interrupt()
            thread.end(walk.close)

    async def test(self) -> Report:
        """Ask for the first page of each table, and tell how the files are written."""
        self._found.clear()
        report = await tried(self)
        return replace(report, notes=[*report.notes, *self._found])

    async def aclose(self) -> None:
        """Close the connections; files are closed by each walk."""
        if self._web is not None:
            await self._web.aclose()

    def _note(self, what: str) -> None:
        self._found.append(what)
        if self._access.on_log is not None:
            self._access.on_log(what)

    def _opened(self) -> Storage:
        if self._storage is None:
            secrets, path = self._access.secrets, self._source.path
            url = secrets.reveal(path) if is_remote(path) else path
            if is_http(url):
                self._web = self._storage = WebStorage(self._source, self._access)
            elif is_remote(url):
                self._storage = FsspecStorage(self._source, url, secrets)
            else:
                self._storage = LocalStorage(url.removeprefix("file://"))
        return self._storage

    async def _tables(self) -> Mapping[str, Sequence[Found]]:
        thread = ReadingThread()
        try:
            found = await thread.run(self._opened().find)
        finally:
            thread.end(lambda: None)
        path = self._source.path
        if not self._source.table_per_file:
            return {self._source.table or table_of(path): found}
        tables: dict[str, list[Found]] = {}
        for each in found:
            tables.setdefault(_name_below(each.name, path), []).append(each)
        twice = next((files for files in tables.values() if len(files) > 1), None)
        if twice is not None:
            raise FatalConnectorError(
                f"{' and '.join(each.shown for each in twice)} would be one table: rename a file"
            )
        return tables


def _name_below(name: str, pattern: str) -> str:
    """Name a table by a file's path below the folder in which the pattern begins."""
    folder = fixed_part(pattern).rpartition("/")[0] if is_pattern(pattern) else ""
    below = name.removeprefix(f"{folder}/") if folder else name
    if not is_pattern(pattern):
        return table_name(below)
    above, slash, _ = below.rpartition("/")
    return (above.replace("/", "_") + "_" if slash else "") + table_name(below)
