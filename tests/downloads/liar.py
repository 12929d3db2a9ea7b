"""A source of a few lists that lies about one of them, and the lies that it knows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

# A walk that asks so often does not end.
ENOUGH = 200
SIZE = 5
PAGES = 6
ROWS = [{"id": number, "n": number, "name": f"name {number}"} for number in range(SIZE * PAGES)]
# The second of three parents has the long list.
LISTS: dict[str, list[dict[str, Any]]] = {
    "/items": ROWS,
    "/new": ROWS,
    "/shops": [{"id": number} for number in (1, 2, 3)],
    "/shops/1/lines": [{"id": 1001, "n": 0, "name": "one"}],
    "/shops/2/lines": ROWS,
    "/shops/3/lines": [{"id": 1003, "n": 0, "name": "three"}],
}


@dataclass(frozen=True)
class Reply:
    """What an honest source says at a page."""

    records: list[dict[str, Any]]
    page: int
    following: str | None
    total: int | None = len(ROWS)


Lie = Callable[["Liar", Reply], Reply | web.StreamResponse]


class Liar:
    """A source of a few lists; about one of them it may lie."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.about = ""
        self.lie: Lie | None = None
        self.tells = True
        self.asked = 0
        self.elsewhere = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.asked > ENOUGH:
            return web.Response(status=410)
        name = "page" if self.way == "page" else "cursor"
        # A new cursor for an old place: `3x17` is the third page.
        page = int(request.query.get(name, "1").partition("x")[0])
        rows = LISTS[request.path]
        more = page * SIZE < len(rows)
        reply: Any = Reply(
            rows[(page - 1) * SIZE : page * SIZE],
            page,
            f"{page + 1}" if more else None,
            len(rows) if self.tells else None,
        )
        if self.lie is not None and request.path == self.about:
            reply = self.lie(self, reply)
        if isinstance(reply, Reply):
            return self._spelled(request, reply)
        if isinstance(reply, Dropped):
            await reply.prepare(request)
            await reply.write(b'{"data": [{"id": 10')
            assert request.transport is not None
            request.transport.close()
        return reply

    def _spelled(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        body: dict[str, Any] = {"data": reply.records}
        if reply.total is not None:
            body["total"] = reply.total
        match self.way:
            case "cursor":
                return web.json_response({**body, "next_cursor": reply.following})
            case "page":
                return web.json_response(
                    {**body, "page": reply.page, "has_more": reply.following is not None}
                )
        headers = {}
        if reply.following is not None:
            following = request.url.update_query(cursor=reply.following)
            headers["Link"] = f'<{following}>; rel="next"'
        return web.json_response(body, headers=headers)


class Dropped(web.StreamResponse):
    """A reply whose connection breaks in the middle."""

    def __init__(self) -> None:
        super().__init__(headers={"Content-Length": "1000", "Content-Type": "application/json"})


def at(page: int, lie: Lie, *, times: int = 10**6) -> Lie:
    """Lie at one page only, and so many times."""
    left = [times]

    def lies(liar: Liar, reply: Reply) -> Reply | web.StreamResponse:
        if reply.page != page or not left[0]:
            return reply
        left[0] -= 1
        return lie(liar, reply)

    return lies


def window(page: int) -> list[dict[str, Any]]:
    return ROWS[(page - 1) * SIZE : page * SIZE]


def html(_: Liar, __: Reply) -> web.StreamResponse:
    return web.Response(text="<!doctype html><p>We will be back soon", content_type="text/html")


def cut(_: Liar, __: Reply) -> web.StreamResponse:
    return web.Response(text='{"data": [{"id": 10, "n"', content_type="application/json")


def dropped(_: Liar, __: Reply) -> web.StreamResponse:
    return Dropped()


def sent_elsewhere(liar: Liar, _: Reply) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": liar.elsewhere})


def page_before(_: Liar, reply: Reply) -> Reply:
    return replace(reply, records=window(reply.page - 1))


def first_again(_: Liar, reply: Reply) -> Reply:
    return replace(reply, records=window(1))


def short(_: Liar, reply: Reply) -> Reply:
    return replace(reply, records=reply.records[:1])


def backwards(_: Liar, reply: Reply) -> Reply:
    return replace(reply, records=window(PAGES + 1 - reply.page)[::-1])


def leads_back(_: Liar, reply: Reply) -> Reply:
    return replace(reply, following="2")


def never_ends_empty(liar: Liar, reply: Reply) -> Reply:
    if reply.page < 3:
        return reply
    return replace(reply, records=[], following=f"3x{liar.asked}", total=None)


def never_ends_same(liar: Liar, reply: Reply) -> Reply:
    return replace(reply, following=f"2x{liar.asked}", total=None) if reply.page == 2 else reply


def never_ends_round(liar: Liar, reply: Reply) -> Reply:
    number = reply.page % PAGES + 1
    return replace(reply, following=f"{number}x{liar.asked}", total=None)
