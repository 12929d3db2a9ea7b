"""Reads tables from an HTTP API, page by page."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from milepost.connectors.connector import Cursor, Page, Report, Table
from milepost.connectors.http.ahead import ReadAhead
from milepost.connectors.http.children import children_inside, children_of
from milepost.connectors.http.client import HttpClient
from milepost.connectors.http.incremental import since_last
from milepost.connectors.http.retrying import Asking, Patience
from milepost.connectors.http.source import PARENT_FIELD, HttpSource, HttpTable
from milepost.connectors.http.walk import Listing, Walk
from milepost.connectors.kinds import Access
from milepost.connectors.naming import table_name
from milepost.connectors.trial import tried
from milepost.errors import FatalConnectorError


class HttpConnector:
    """One use of an HTTP source."""

    def __init__(self, source: HttpSource, access: Access) -> None:
        self._source = source
        self._secrets = access.secrets
        self._base = access.secrets.reveal_url(source.url)
        if not self._base.startswith(("http://", "https://")):
            raise FatalConnectorError(f"{source.url} does not stand for an http or https URL")
        # Named by the template, so that a secret in the URL is not in the table's name.
        self._names = list(source.only or source.tables) or [table_name(source.url)]
        self._client = HttpClient(source, access)
        patience = Patience(max_tries=source.max_tries, wait_at_most=source.wait_at_most)
        self._asking = Asking(patience, access.on_wait, access.sleep)
        self._on_log = access.on_log
        self._found: dict[str, str] = {}

    async def tables(self) -> Sequence[Table]:
        """Name the tables that the source describes; nothing is asked."""
        return [Table(name, self._source.table(name).key) for name in self._names]

    async def pages(self, table: str, *, after: Cursor) -> AsyncGenerator[Page]:
        """Read the pages after a cursor."""
        if table not in self._names:
            known = ", ".join(self._names)
            raise FatalConnectorError(f"no table {table!r} in this source; it has {known}")
        ahead = ReadAhead(self._client, self._source.read_ahead)
        try:
            async with aclosing(self._read(table, after, ahead)) as pages:
                async for page in pages:
                    yield page
        finally:
            await ahead.forget()

    async def test(self) -> Report:
        """Ask for the first page of each table."""
        report = await tried(self)
        notes = [*report.notes, *(f"{table}: {what}" for table, what in self._found.items())]
        return replace(report, rate_limit=self._client.pace.seen, notes=notes)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _note(self, table: str, what: str) -> None:
        if table not in self._found and self._on_log is not None:
            self._on_log(f"{table}: {what}")
        self._found[table] = what

    def _read(self, name: str, after: Cursor, ahead: ReadAhead) -> AsyncGenerator[Page]:
        table = self._source.table(name)
        if table.parent is not None:
            parents = self._walk(table.parent, self._source.table(table.parent), ahead)
            if table.inside is not None:
                return children_inside(parents, table, after)
            return children_of(
                parents, table, lambda record: self._walk(name, table, ahead, record), ahead, after
            )
        if table.incremental is not None:
            return since_last(
                table.incremental, lambda more: self._walk(name, table, ahead, params=more), after
            )
        return self._walk(name, table, ahead).pages(after)

    def _walk(
        self,
        name: str,
        table: HttpTable,
        ahead: ReadAhead,
        parent: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Walk:
        path = self._secrets.reveal(table.path, in_url=True)
        if parent is not None:
            path = PARENT_FIELD.sub(lambda field: _part(parent, field[1], name), path)
        revealed = {each: self._secrets.reveal(value) for each, value in table.params.items()}
        listing = Listing(name, path, table, revealed, params or {})
        return Walk(
            listing, self._base, self._client, self._secrets, self._asking, ahead, self._note
        )


def _part(parent: Mapping[str, Any], dotted: str, table: str) -> str:
    found: Any = parent
    for key in [dotted] if dotted in parent else dotted.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    if found is None or isinstance(found, dict | list):
        raise FatalConnectorError(
            f"table {table!r}: a parent has no {dotted!r} to put into the path; it has "
            f"{', '.join(list(parent)[:12])}"
        )
    return quote(str(found), safe="")
