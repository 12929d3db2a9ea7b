"""What every request and every reply goes through."""

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from milepost.web.problems import Problem, reply


class Headers:
    """Adds headers to each reply that does not have them."""

    def __init__(self, app: ASGIApp, *, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its reply back."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    given.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


class BodyLimit:
    """Lets through requests of at most so many bytes."""

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told) > self._most:
            await self._refuse(scope, receive, send)
            return
        read = 0
        body: list[Message] = []
        # Read here, not counted on the way: by then a reply may have begun.
        while scope["method"] not in ("GET", "HEAD"):
            message = await receive()
            body.append(message)
            if message["type"] != "http.request":
                break
            read += len(message.get("body", b""))
            if read > self._most:
                await self._refuse(scope, receive, send)
                return
            if not message.get("more_body", False):
                break
        waiting = iter(body)

        async def again() -> Message:
            return next(waiting, None) or await receive()

        await self._app(scope, again, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = Problem(
            title="Body is too large", status=413, detail=f"at most {self._most:,} bytes are taken"
        )
        await reply(problem)(scope, receive, send)
