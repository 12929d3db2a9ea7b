"""Reads tables from an HTTP API, page by page."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urljoin

from milepost.connectors.connector import Cursor, Page, Table
from milepost.connectors.finding import Path, find_path, missing, records_at, resolve
from milepost.connectors.http.client import HttpClient
from milepost.connectors.http.envelope import Envelope
from milepost.connectors.http.loops import LoopGuard
from milepost.connectors.http.pagination import Seen, Walked, next_position, params_at
from milepost.connectors.http.positions import (
    AtUrl,
    Ended,
    Position,
    Start,
    count_before,
    from_cursor,
    is_counted,
    to_cursor,
)
from milepost.connectors.http.retrying import OnWait, Patience, Sleep, ask_again
from milepost.connectors.http.urls import at_origin, origin, path_and_query, with_params, with_path
from milepost.connectors.naming import table_name
from milepost.connectors.secrets import Secrets
from milepost.connectors.sources import HttpSource
from milepost.errors import FatalConnectorError, RetryableConnectorError


class HttpConnector:
    """One use of an HTTP source. `on_wait` is told of every wait between two tries."""

    def __init__(
        self,
        source: HttpSource,
        secrets: Secrets,
        *,
        on_wait: OnWait | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._source = source
        self._secrets = secrets
        self._base = secrets.reveal_url(source.url)
        if not self._base.startswith(("http://", "https://")):
            raise FatalConnectorError(f"{source.url} does not stand for an http or https URL")
        # Named by the template, so that a secret in the URL is not in the table's name.
        self._paths = source.tables or {table_name(source.url): ""}
        self._client = HttpClient(source, secrets)
        patience = Patience(max_tries=source.max_tries, wait_at_most=source.wait_at_most)
        self._ask = partial(ask_again, patience=patience, on_wait=on_wait, sleep=sleep)

    async def tables(self) -> Sequence[Table]:
        """Name the tables that the source describes; nothing is asked."""
        return [Table(name) for name in self._paths]

    async def pages(self, table: str, *, after: Cursor) -> AsyncGenerator[Page]:
        """Read the pages after a cursor."""
        if table not in self._paths:
            known = ", ".join(self._paths)
            raise FatalConnectorError(f"no table {table!r} in this source; it has {known}")
        position = from_cursor(after)
        guard = LoopGuard(position)
        walked = Walked(count_before(position))
        while not isinstance(position, Ended):
            ask = partial(self._follow, table, position, walked, guard)
            counted = is_counted(position)
            seen, position = await self._ask(ask)
            guard.move(position, seen.records)
            walked = seen.end
            last = isinstance(position, Ended)
            counted = counted or is_counted(position)
            yield Page(seen.records, to_cursor(position), last, seen.total, counted)
            if last:
                return
        yield Page((), to_cursor(Ended()), last=True)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _follow(
        self, table: str, position: Position, walked: Walked, guard: LoopGuard
    ) -> tuple[Seen, Position]:
        """Ask for a page once, and say what follows it."""
        url = self._url(table, position)
        reply, body = await self._client.get(url)
        try:
            seen = self._seen(table, position, reply.url, Envelope(reply, body), body, walked)
            if guard.stands_still(position, seen.records):
                # The answer past the end, so an empty page. If it came too early, it is refused.
                seen = replace(seen, records=())
            following = next_position(seen)
            guard.check(following, seen.records)
        except RetryableConnectorError as error:
            raise RetryableConnectorError(f"{self._client.show(url)}: {error}") from None
        except (FatalConnectorError, ValueError) as error:
            said = self._secrets.hide(str(error))
            raise FatalConnectorError(f"{self._client.show(url)}: {said}") from None
        return seen, following

    def _url(self, table: str, position: Position) -> str:
        if isinstance(position, AtUrl):
            return at_origin(self._base, self._secrets.reveal(position.url, in_url=True))
        path = self._secrets.reveal(self._paths[table], in_url=True)
        url = with_params(with_path(self._base, path), self._client.params)
        return with_params(url, params_at(position, self._source, self._secrets.reveal))

    def _seen(
        self,
        table: str,
        position: Position,
        url: str,
        envelope: Envelope,
        body: Any,
        walked: Walked,
    ) -> Seen:
        path = self._path(table, position, envelope, body)
        records = [] if body == [] else records_at(body, path)
        if records is None:
            # Some APIs leave the list out of an empty page, but never out of the first one here:
            # that would hide a wrong path.
            if isinstance(position, Start) or not (body == {} or envelope.has_marks()):
                raise missing(body, path)
            records = []
        return Seen(
            position=position,
            envelope=envelope.with_holders(body, path),
            body=body,
            records=records,
            path=path,
            source=self._source,
            walked=walked,
            seal=self._secrets.seal,
            localize=partial(self._localize, url),
        )

    def _path(self, table: str, position: Position, envelope: Envelope, body: Any) -> Path:
        if position.path is not None:
            return position.path
        if self._source.records_path is not None:
            return resolve(body, self._source.records_path)
        return find_path(body, table, has_marks=envelope.has_marks)

    def _localize(self, url: str, following: str) -> str:
        """Make the URL of a next page fit for a cursor: no origin, no secrets."""
        target = urljoin(url, following)
        if origin(target) != origin(self._base):
            shown = self._client.show(target)
            raise FatalConnectorError(
                f"the next page is at another origin ({shown}), which gets no credentials and is "
                "not asked: if that origin is right, use it in the source's URL; otherwise choose "
                "another way with --pagination page, offset or cursor"
            )
        return self._secrets.seal(path_and_query(self._client.without_secret_params(target)))
