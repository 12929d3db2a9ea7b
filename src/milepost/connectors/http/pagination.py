"""Decides what follows a page: one function for each way in which APIs page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from milepost.connectors.finding import Path
from milepost.connectors.http.envelope import Envelope
from milepost.connectors.http.positions import (
    AtOffset,
    AtPage,
    AtToken,
    AtUrl,
    Ended,
    Position,
    Start,
)
from milepost.connectors.http.source import Paging
from milepost.errors import FatalConnectorError, RetryableConnectorError


@dataclass(frozen=True, slots=True)
class Walked:
    """What came before a page: how many records, and what the server has told since.

    `count` is None where a walk resumed from a cursor that does not tell.
    """

    count: int | None
    total: int | None = None
    more: bool | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One reply and how it was asked for. `seal` and `localize` make text fit to be stored."""

    position: Position
    envelope: Envelope
    body: Any
    records: Sequence[Mapping[str, Any]]
    path: Path
    paging: Paging
    walked: Walked
    seal: Callable[[str], str]
    localize: Callable[[str], str]

    @property
    def total(self) -> int | None:
        """Count the records of the whole table, where the reply tells."""
        total, count = self.envelope.total(), self.envelope.count()
        if total is not None:
            return total
        # `count` is that of the page in some APIs.
        return count if (count or 0) > len(self.records) else self.walked.total

    @property
    def more(self) -> bool | None:
        """Whether more pages follow; a reply without any facts unsays nothing."""
        return self.envelope.more() if self.envelope.has_marks() else self.walked.more

    @property
    def pages_left(self) -> int | None:
        """How many pages of this size follow, where the reply tells."""
        got, total, size = self.end.count, self.total, len(self.records)
        if got is None or total is None or not size:
            return None
        return max(0, -(-(total - got) // size))

    @property
    def end(self) -> Walked:
        """What came before the next page."""
        count = self.walked.count
        count = None if count is None else count + len(self.records)
        return Walked(count, self.total, self.more)


def next_position(seen: Seen) -> Position:
    """Say where to go on; Ended after the last page.

    Raises FatalConnectorError where the table would silently be cut short, and
    RetryableConnectorError where it would be by a page that contradicts itself.
    """
    kind = seen.position.kind if not isinstance(seen.position, Start) else _chosen(seen.paging)
    match kind:
        case "link":
            found = _by_link(seen)
        case "next-url":
            found = _by_url(seen)
        case "cursor":
            found = _by_token(seen) or _by_last_id(seen)
        case "page":
            found = _by_page(seen)
        case "offset":
            found = _by_offset(seen)
        case "auto":
            found = _detected(seen)
        case _:
            found = None
    if found is None and kind != "none":
        _refuse_to_end_early(seen, kind)
    return found or Ended()


def params_at(
    position: Position, paging: Paging, reveal: Callable[[str], str]
) -> dict[str, str | int]:
    """Name the parameters that ask for the page at a position, beside the source's own."""
    params: dict[str, str | int] = {}
    if paging.page_size is not None:
        usual = "per_page" if paging.pagination == "page" else "limit"
        params[paging.page_size_param or usual] = paging.page_size
    match position:
        case AtToken(param=param, value=value):
            params[param] = reveal(value) if isinstance(value, str) else value
        case AtPage(param=param, number=number):
            params[param] = number
        case AtOffset(param=param, offset=offset):
            params[param] = offset
        case _ if paging.pagination == "page":
            params[paging.page_param or "page"] = paging.start_page
        case _ if paging.pagination == "offset":
            params[paging.offset_param or "offset"] = 0
        case _:
            pass
    return params


def _chosen(paging: Paging) -> str:
    if paging.pagination in (None, "auto") and (paging.cursor_path or paging.cursor_header):
        return "cursor"
    return paging.pagination or "auto"


def _detected(seen: Seen) -> Position | None:
    """Try each way, the surest first; the first reply decides for the whole table."""
    envelope = seen.envelope
    for way in (_by_link, _by_url, _by_token):
        found = way(seen)
        if found is not None:
            return found
    if envelope.more() is False:
        return None
    if seen.paging.offset_param or (envelope.offset() and not seen.paging.page_param):
        return _by_offset(seen)
    if seen.paging.page_param or envelope.number() or (envelope.pages() or 0) > 1:
        return _by_page(seen)
    found = _by_last_id(seen)
    if found is None and seen.records and not envelope.says_end():
        _refuse_to_stop_short(seen)
    return found


def _refuse_to_end_early(seen: Seen, kind: str) -> None:
    """Refuse the end where the server tells of more: a hiccup that the next try may not have.

    Of a last page with records only a missing cursor is refused. Totals are often wrong; who
    reads the pages weighs them.
    """
    envelope, here = seen.envelope, seen.position
    led = kind in {"link", "next-url", "cursor"}
    count, total = seen.walked.count, seen.total
    number = None
    if isinstance(here, Start | AtPage):
        number = here.number - here.first + 1 if isinstance(here, AtPage) else 1
    if seen.more and (led or not seen.records):
        why = f"says that more follow{'' if seen.records else ', and holds no new records'}"
    elif seen.records:
        return
    elif number is not None and number < (envelope.pages() or 0):
        why = f"holds no new records, and is page {number} of {envelope.pages()}"
    elif count is not None and total is not None and count < total:
        why = f"holds no new records, and only {count} of {total} have come"
    else:
        return
    raise RetryableConnectorError(f"the reply {why}")


def _refuse_to_stop_short(seen: Seen) -> None:
    got = len(seen.records)
    total = seen.total
    if total is not None and got < total:
        why = f"the reply holds {got} of {total} records"
    elif seen.envelope.more():
        why = "the reply says that more pages follow"
    elif got and got == seen.paging.page_size and not seen.envelope.has_marks():
        why = f"the reply holds exactly the {got} records that were asked for"
    else:
        return
    raise FatalConnectorError(
        f"{why}, and nothing in it tells how to get the next page: pass --pagination page or "
        "offset (or cursor, with --cursor-path), or none if this is all"
    )


def _by_link(seen: Seen) -> Position | None:
    url = seen.envelope.next_link()
    return AtUrl(kind="link", url=seen.localize(url), path=seen.path) if url else None


def _by_url(seen: Seen) -> Position | None:
    if seen.paging.cursor_path is None:
        url = seen.envelope.next_url()
    else:
        url = _at(seen.body, seen.paging.cursor_path)
    if seen.envelope.more() is False or not url:
        return None
    return AtUrl(kind="next-url", url=seen.localize(str(url)), path=seen.path)


def _by_token(seen: Seen) -> Position | None:
    paging = seen.paging
    if paging.cursor_header is not None:
        given = seen.envelope.header(paging.cursor_header)
        token: tuple[str, str | int] | None = ("cursor", given) if given else None
    elif paging.cursor_path is None:
        token = seen.envelope.next_token()
    else:
        value = _at(seen.body, paging.cursor_path)
        known = isinstance(value, str | int) and value != "" and not isinstance(value, bool)
        token = (_last_key(paging.cursor_path), value) if known else None
    return _after_token(seen, *token) if token else None


def _by_last_id(seen: Seen) -> Position | None:
    """Go on as with Stripe: `has_more`, and the next page starts after the last id of this one."""
    if not seen.envelope.more() or seen.envelope.mentions_token() or not seen.records:
        return None
    last = seen.records[-1].get("id")
    return _after_token(seen, "starting_after", last) if isinstance(last, str | int) else None


def _after_token(seen: Seen, param: str, value: str | int) -> Position | None:
    if seen.envelope.more() is False:
        return None
    if isinstance(seen.position, AtToken):
        param = seen.position.param
    return AtToken(
        param=seen.paging.cursor_param or param,
        value=seen.seal(value) if isinstance(value, str) else value,
        path=seen.path,
    )


def _by_page(seen: Seen) -> Position | None:
    paging, envelope = seen.paging, seen.envelope
    if isinstance(seen.position, AtPage):
        here = seen.position
    else:
        param, number = envelope.number() or ("page", paging.start_page)
        if paging.pagination == "page":
            param, number = "page", paging.start_page
        here = AtPage(param=paging.page_param or param, number=number, first=number, seen=0)
    got, pages, total = here.seen + len(seen.records), envelope.pages(), envelope.total()
    told = envelope.next_number() is not None
    if not seen.records or envelope.more() is False or envelope.ends_pages():
        return None
    if here.told and not told:
        return None
    # A page that is short proves nothing: servers drop records after they cut the page. Of what
    # the server says about the end, the total is wrong most often.
    if pages is not None:
        if here.number - here.first + 1 >= pages:
            return None
    elif total is not None and got >= total and not envelope.more():
        return None
    return AtPage(
        param=here.param,
        number=here.number + 1,
        first=here.first,
        seen=got,
        told=told,
        path=seen.path,
    )


def _by_offset(seen: Seen) -> Position | None:
    paging, envelope = seen.paging, seen.envelope
    if isinstance(seen.position, AtOffset):
        here = seen.position
    else:
        param, offset = envelope.offset() or ("offset", 0)
        if paging.pagination == "offset":
            param, offset = "offset", 0
        # SCIM and OpenSearch count from 1.
        here = AtOffset(
            param=paging.offset_param or param, offset=offset, first=1 if offset == 1 else 0
        )
    after, total = here.offset + len(seen.records), envelope.total()
    if not seen.records or envelope.more() is False:
        return None
    if total is not None and after - here.first >= total and not envelope.more():
        return None
    return AtOffset(param=here.param, offset=after, first=here.first, path=seen.path)


def _at(body: Any, dotted: str) -> Any:
    if isinstance(body, dict) and dotted in body:
        return body[dotted]
    for key in dotted.split("."):
        body = body.get(key) if isinstance(body, dict) else None
    return body


def _last_key(dotted: str) -> str:
    bare = dotted.rpartition(".")[2]
    return bare.removeprefix("next_") if bare != "next" else "cursor"
