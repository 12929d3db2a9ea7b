"""Walks over one list of an API, page by page."""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import urljoin

from milepost.connectors.connector import Cursor, Page
from milepost.connectors.finding import Path, find_path, missing, records_at, resolve
from milepost.connectors.http.ahead import ReadAhead
from milepost.connectors.http.client import HttpClient, Request
from milepost.connectors.http.credentials import revealed
from milepost.connectors.http.envelope import Envelope
from milepost.connectors.http.loops import LoopGuard
from milepost.connectors.http.pagination import Seen, Walked, next_position, params_at
from milepost.connectors.http.positions import (
    AtOffset,
    AtPage,
    AtUrl,
    Ended,
    Position,
    Start,
    count_before,
    from_cursor,
    is_counted,
    to_cursor,
)
from milepost.connectors.http.retrying import Asking
from milepost.connectors.http.source import Paging
from milepost.connectors.http.urls import at_origin, origin, path_and_query, with_params, with_path
from milepost.connectors.secrets import Secrets
from milepost.errors import CursorExpired, FatalConnectorError, RetryableConnectorError


@dataclass(frozen=True, slots=True)
class Listing:
    """One list: a path behind the source's URL, with parameters of its own; no templates."""

    table: str
    path: str
    paging: Paging
    params: Mapping[str, str]
    asked: Mapping[str, str]
    """Sent as page size and position are: in the query, or in the body of a POST."""


class Walk:
    """Reads one list of a source from any position."""

    def __init__(
        self,
        listing: Listing,
        base: str,
        client: HttpClient,
        secrets: Secrets,
        asking: Asking,
        ahead: ReadAhead,
        on_found: Callable[[str, str], None],
    ) -> None:
        self._on_found = on_found
        self.began: datetime | None = None
        """When the source gave its first reply of this walk, by its own clock if it tells."""
        self._listing = listing
        self._paging = listing.paging
        self._base = base
        self._client = client
        self._secrets = secrets
        self._asking = asking
        self._ahead = ahead

    async def pages(self, after: Cursor) -> AsyncGenerator[Page]:
        """Read the pages after a cursor."""
        position = from_cursor(after)
        guard = LoopGuard(position)
        walked = Walked(count_before(position))
        while not isinstance(position, Ended):
            counted, begins = is_counted(position), isinstance(position, Start)
            seen, position = await self._asking.ask(partial(self._follow, position, walked, guard))
            self.began = self.began or seen.envelope.moment() or datetime.now(UTC)
            if begins:
                self._on_found(self._listing.table, _told(seen, position))
            guard.move(position, seen.records)
            walked = seen.end
            last = isinstance(position, Ended)
            counted = counted or is_counted(position)
            self._ahead.expect(map(self.request, _coming(position, seen)))
            yield Page(seen.records, to_cursor(position), last, seen.total, counted)
            if last:
                return
        yield Page((), to_cursor(Ended()), last=True)

    def request(self, position: Position) -> Request:
        """What asks for the page at a position."""
        reveal = self._secrets.reveal
        paging, method = self._paging, self._paging.method or "GET"
        body = revealed(paging.body or {}, reveal) if method == "POST" else None
        if isinstance(position, AtUrl):
            return Request(at_origin(self._base, reveal(position.url, in_url=True)), body, method)
        url = with_params(with_path(self._base, self._listing.path), self._client.params)
        url = with_params(url, self._listing.params)
        place = {**self._listing.asked, **params_at(position, paging, reveal)}
        if paging.in_body:
            for dotted, value in place.items():
                body = _with(body, dotted.split("."), value)
            return Request(self._client.without_secret_params(url), body, method)
        url = with_params(url, {name: str(value) for name, value in place.items()})
        return Request(self._client.without_secret_params(url), body, method)

    async def _follow(
        self, position: Position, walked: Walked, guard: LoopGuard
    ) -> tuple[Seen, Position]:
        """Ask for a page once, and say what follows it."""
        request = self.request(position)
        url = request.url
        try:
            reply, body = await self._ahead.ask(request)
        except FatalConnectorError as error:
            if error.status in (self._paging.expired_status or ()) and position != Start():
                raise CursorExpired(str(error)) from None
            raise
        try:
            seen = self._seen(position, reply.url, Envelope(reply, body), body, walked)
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

    def _seen(
        self,
        position: Position,
        url: str,
        envelope: Envelope,
        body: Any,
        walked: Walked,
    ) -> Seen:
        path = self._path(position, envelope, body)
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
            paging=self._paging,
            walked=walked,
            seal=self._secrets.seal,
            localize=partial(self._localize, url),
        )

    def _path(self, position: Position, envelope: Envelope, body: Any) -> Path:
        if position.path is not None:
            return position.path
        if self._paging.records_path is not None:
            return resolve(body, self._paging.records_path)
        return find_path(body, self._listing.table, has_marks=envelope.has_marks)

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


def _coming(position: Position, seen: Seen) -> Iterator[Position]:
    """The places of the next pages: all that are known without their replies."""
    match position:
        case Ended():
            return
        case AtPage():
            left = seen.pages_left
            for step in range(left) if left is not None else count():
                yield replace(position, number=position.number + step)
        case AtOffset() if seen.records:
            left = seen.pages_left
            for step in range(left) if left is not None else count():
                yield replace(position, offset=position.offset + step * len(seen.records))
        case _:
            yield position


def _told(seen: Seen, following: Position) -> str:
    """What the first reply has decided for the table, in words."""
    where = f"at {'.'.join(seen.path)}" if seen.path else "the whole reply"
    ways = {
        "link": "its Link header leads on", "next-url": "each page names the next one's URL",
        "cursor": "by cursor", "page": "by page number", "offset": "by offset",
        "end": "on one page",
    }  # fmt: skip
    return f"records are {where}; {ways.get(following.kind, following.kind)}"


def _with(body: Any, keys: list[str], value: str | int) -> dict[str, Any]:
    """Set a value deep in an object, in a copy."""
    inner = body if isinstance(body, dict) else {}
    first, *rest = keys
    return {**inner, first: _with(inner.get(first), rest, value) if rest else value}
