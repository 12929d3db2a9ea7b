"""Reads the resources of a dlt source, each on a thread of its own."""

from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import TypeVar

from dlt.extract import DltSource as Source

from milepost.connectors import templates
from milepost.connectors.connector import Cursor, Page, Report, Table
from milepost.connectors.dlt.faults import meaning_of
from milepost.connectors.dlt.reading import ResourceReading
from milepost.connectors.dlt.resources import find, table_of
from milepost.connectors.dlt.source import DltSource
from milepost.connectors.dlt.threads import OwnThread
from milepost.connectors.secrets import Secrets
from milepost.connectors.trial import tried
from milepost.errors import (
    AuthenticationRefused,
    ConnectorError,
    FatalConnectorError,
    RetryableConnectorError,
)

Answer = TypeVar("Answer")


class DltConnector:
    """One use of a source; each walk over a resource makes the source anew."""

    def __init__(self, source: DltSource, secrets: Secrets) -> None:
        self._source = source
        self._secrets = secrets
        self._arguments = templates.fill(source.arguments, secrets)

    async def tables(self) -> Sequence[Table]:
        """Name the resources that are selected, with what their hints tell."""
        thread = OwnThread("milepost-dlt")
        try:
            return await thread.run(lambda: self._named(self._describe))
        finally:
            thread.close()

    async def pages(self, table: str, *, after: Cursor) -> AsyncGenerator[Page]:
        """Read a resource from the state in a cursor."""
        thread = OwnThread(f"milepost-dlt-{table}")
        opened: list[ResourceReading] = []
        state = templates.fill(after, self._secrets)
        try:
            reading = await thread.run(
                lambda: self._named(lambda: self._begin(table, state, opened))
            )
            pages = reading.pages()
            last = False
            while not last:
                page = await thread.run(lambda: self._named(lambda: next(pages)))
                last = page.last
                yield self._sealed(page)
        finally:
            # Not waited for: what the source is doing ends by itself, and is not heard.
            thread.close(partial(_close, opened))

    async def test(self) -> Report:
        """Ask for the first page of each resource."""
        return await tried(self)

    async def aclose(self) -> None:
        """Do nothing: each walk closes its own generators."""

    def _found(self) -> Source:
        return find(self._source.source, self._arguments)

    def _describe(self) -> list[Table]:
        found = self._found()
        for name in self._source.tables:
            self._check(found, name)
        chosen = self._source.tables or tuple(found.selected_resources)
        return [table_of(found.resources[name]) for name in chosen]

    def _begin(self, table: str, after: Cursor, opened: list[ResourceReading]) -> ResourceReading:
        found = self._found()
        self._check(found, table)
        reading = ResourceReading(found, table, after, page_size=self._source.page_size)
        opened.append(reading)
        return reading

    def _check(self, found: Source, name: str) -> None:
        if name not in found.resources:
            known = ", ".join(found.resources) or "none"
            raise FatalConnectorError(
                f"{self._source.source} has no resource {name!r}; it has: {known}"
            )

    def _sealed(self, page: Page) -> Page:
        cursor = templates.seal(page.cursor, self._secrets)
        bookmark = None if page.bookmark is None else cursor
        return Page(page.records, cursor, page.last, bookmark=bookmark)

    def _named(self, work: Callable[[], Answer]) -> Answer:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 (any code may run in a source)
            raise self._without_secrets(meaning_of(error, self._source.source)) from None

    def _without_secrets(self, error: ConnectorError) -> ConnectorError:
        said = self._secrets.hide(str(error))
        match error:
            case RetryableConnectorError(retry_after=after):
                return RetryableConnectorError(said, retry_after=after)
            case AuthenticationRefused():
                return AuthenticationRefused(said)
            case _:
                return FatalConnectorError(said)


def _close(opened: Sequence[ResourceReading]) -> None:
    for each in opened:
        each.close()
