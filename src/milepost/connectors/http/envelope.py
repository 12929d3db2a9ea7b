"""What a reply says around its records: totals, flags, cursors, next pages."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from milepost.connectors.finding import Path
from milepost.connectors.http import vocabulary as words
from milepost.connectors.http.replies import Reply, moment_of


class Envelope:
    """The facts of one reply, looked up by meaning."""

    def __init__(self, reply: Reply, body: Any, path: Path = ()) -> None:
        self._reply = reply
        self._headers = reply.headers
        self._spots = [
            {words.plain(key): (key, value) for key, value in spot.items()}
            for spot in _spots(body, path)
        ]

    def with_holders(self, body: Any, path: Path) -> "Envelope":
        """Look also into the objects around the records, once it is known where those are."""
        return Envelope(self._reply, body, path) if len(path) > 1 else self

    def header(self, name: str) -> str | None:
        """Read one header of the reply."""
        return self._headers.get(name)

    def moment(self) -> datetime | None:
        """When the server says that it replied."""
        return moment_of(self._headers.get("Date", ""))

    def has_marks(self) -> bool:
        """Whether the reply says anything about pages, be it null."""
        told = any(not words.MARKS.isdisjoint(spot) for spot in self._spots)
        return told or bool(self._reply.link) or self.total() is not None

    def next_link(self) -> str | None:
        """Read the Link header with rel=next (RFC 8288)."""
        for url, params in re.findall(r"<([^>]*)>([^<]*)", self._reply.link):
            relation = re.search(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', params, re.IGNORECASE)
            if relation and "next" in (relation[1] or relation[2]).lower().split():
                return str(url)
        return None

    def next_url(self) -> str | None:
        """Read the URL of the next page from the body."""
        for _, value in self._values(words.NEXT_URLS):
            nested = value if isinstance(value, dict) else {"url": value}
            for key in ("href", "url", "link"):
                url = nested.get(key)
                if isinstance(url, str) and re.match(r"https?://|/|\?", url):
                    return url
        return None

    def next_token(self) -> tuple[str, str | int] | None:
        """Read the cursor of the next page, with the parameter that probably takes it."""
        for key, value in self._values(words.TOKENS):
            # Zero is how some APIs (Twitter's first) say that there is no next cursor.
            if isinstance(value, bool) or value in ("", 0):
                continue
            counting = isinstance(value, int) and words.plain(key) in words.COUNTING
            if isinstance(value, str | int) and not counting:
                return words.param_for(key), value
        return None

    def mentions_token(self) -> bool:
        """Whether the reply has a place for a cursor, be it null."""
        return any(not spot.keys().isdisjoint(words.TOKENS) for spot in self._spots)

    def more(self) -> bool | None:
        """Whether more pages follow; None where the reply does not say."""
        for _, value in self._values(words.MORE):
            if isinstance(value, bool):
                return value
        for _, value in self._values(words.NO_MORE):
            if isinstance(value, bool):
                return not value
        return None

    def total(self) -> int | None:
        """Count the records of the whole table."""
        for name in words.TOTAL_HEADERS:
            if self._headers.get(name, "").isdecimal():
                return int(self._headers[name])
        in_range = re.search(r"/(\d+)$", self._headers.get("Content-Range", ""))
        if in_range:
            return int(in_range[1])
        return self._number(words.TOTALS)

    def count(self) -> int | None:
        """Read `count`: of the whole table in some APIs, of this page in others."""
        return self._number(words.COUNT)

    def pages(self) -> int | None:
        """Count the pages of the whole table."""
        for name in words.PAGES_HEADERS:
            if self._headers.get(name, "").isdecimal():
                return int(self._headers[name])
        return self._number(words.PAGES)

    def says_end(self) -> bool:
        """Whether the reply has a place for the next page, and it is empty."""
        places = {*words.NEXT_URLS, *words.TOKENS}
        return any(
            key in places and (value is None or value == "")
            for spot in self._spots
            for key, (_, value) in spot.items()
        )

    def ends_pages(self) -> bool:
        """Whether the reply has a place for the next page's number, and it is empty."""
        return any(value is None for _, value in self._values(words.NEXT_NUMBERS))

    def next_number(self) -> int | None:
        """Read the number of the next page."""
        for _, value in self._values(words.NEXT_NUMBERS):
            if type(value) is int:
                return value
        header = self._headers.get("X-Next-Page", "")
        return int(header) if header.isdecimal() else None

    def number(self) -> tuple[str, int] | None:
        """Read the number of this page, with the parameter that probably sets it."""
        following = self.next_number()
        if following is not None:
            return "page", following - 1
        for key, value in self._values(words.NUMBERS):
            if type(value) is int:
                return ("page" if words.plain(key) == "currentpage" else key), value
        # Spring calls the page's number just that, which means little by itself.
        spring = next(iter(self._values(("number",))), None)
        if spring and type(spring[1]) is int and self.pages() is not None:
            return "page", spring[1]
        return None

    def offset(self) -> tuple[str, int] | None:
        """Read how many records came before this page, with the parameter for it."""
        for key, value in self._values(words.OFFSETS):
            if type(value) is int:
                return key, value
        in_range = re.search(r"(\d+)-\d+/", self._headers.get("Content-Range", ""))
        return ("offset", int(in_range[1])) if in_range else None

    def _number(self, names: tuple[str, ...]) -> int | None:
        for _, value in self._values(names):
            if type(value) is int and value >= 0:
                return value
            if isinstance(value, str) and value.isdecimal():
                return int(value)
        return None

    def _values(self, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for name in names:
            for spot in self._spots:
                if name in spot:
                    yield spot[name]


def _spots(body: Any, path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects that may hold such facts, the outermost first."""
    yield from _containers(body, 3)
    holder = body
    for key in path[:-1]:
        holder = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(holder, dict):
            yield from _containers(holder, 2)


def _containers(node: Any, depth: int) -> Iterator[dict[str, Any]]:
    if not isinstance(node, dict):
        return
    yield node
    if depth:
        for key, value in node.items():
            if words.plain(key) in words.CONTAINERS:
                yield from _containers(value, depth - 1)
