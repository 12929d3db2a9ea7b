"""A port of a worker that Prometheus reads."""

import asyncio
import ipaddress
from typing import Self

from aiohttp import web

from milepost.access import Access
from milepost.errors import ConfigurationError
from milepost.telemetry.metrics import Metrics


class ScrapePort:
    """Answers GET /metrics, to who has the token of a viewer of all owners once there is a token.

    Without tokens it listens only where nobody else reaches it. `async with` it.
    """

    def __init__(self, metrics: Metrics, access: Access, *, host: str, port: int) -> None:
        self._metrics = metrics
        self._access = access
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises ConfigurationError where that is not safe, or the port is taken."""
        if not _is_loopback(self._host) and not await self._access.needed():
            raise ConfigurationError(
                f"MILEPOST_METRICS_HOST: others reach {self._host}, and there is no token yet: "
                "make one with `milepost tokens create prometheus`, and give it to Prometheus"
            )
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigurationError(
                f"{self._host}:{self._port} cannot be listened on: {error.strerror}; "
                "MILEPOST_METRICS_PORT takes another"
            ) from error

    async def stop(self) -> None:
        """Answer nobody any more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        refused = await self._refused(request)
        if refused is not None:
            return refused
        # The store may be asked, and must not keep the worker's loop waiting.
        text = await asyncio.to_thread(self._metrics.text)
        return web.Response(body=text, headers={"Content-Type": self._metrics.content_type})

    async def _refused(self, request: web.Request) -> web.Response | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            caller = await self._access.caller(token.strip())
            if caller is None:
                return _unknown("this token opens nothing: it is none, or it was revoked")
            if caller.owner is not None:
                return web.Response(
                    status=403,
                    text=f"this is of all owners, and {caller.name!r} is bound to {caller.owner!r}",
                )
            return None
        if await self._access.needed():
            return _unknown("a token is needed: Authorization: Bearer <token>")
        return None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def _unknown(why: str) -> web.Response:
    return web.Response(status=401, text=why, headers={"WWW-Authenticate": "Bearer"})


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
