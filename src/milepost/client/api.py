"""Asks the API, again where that is safe."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from milepost.errors import MilepostError

TRIES: Final = 5
WAIT: Final = 0.2
LONGEST_WAIT: Final = 5.0
ANSWER_WITHIN: Final = 90.0
NO_CONTENT: Final = 204


class ApiError(MilepostError):
    """The API refused a request; the message is its sentence."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title


class ApiAway(MilepostError):
    """The API did not answer, several times in a row."""


class Api:
    """The API at an address; connections are opened when they are needed."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = f"{url.rstrip('/')}/api/v1"
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        repeat: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Ask, again where that is safe. Raises ApiError or ApiAway."""
        may_repeat = repeat or method == "GET"
        for attempt in range(1, TRIES + 1):
            try:
                async with self.session().request(
                    method, self.url + path, json=body, headers=headers
                ) as reply:
                    if reply.ok:
                        return None if reply.status == NO_CONTENT else await reply.json()
                    error = await error_of(reply)
                    if reply.status < 500 or not may_repeat or attempt == TRIES:  # noqa: PLR2004
                        raise error
            except (aiohttp.ClientConnectionError, TimeoutError) as lost:
                if not may_repeat or attempt == TRIES:
                    raise ApiAway(f"{self.url} does not answer: {lost}") from lost
            await pause(attempt)
        raise AssertionError("the last try returns or raises")

    def session(self) -> aiohttp.ClientSession:
        """Give the session that all requests share."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN)
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self._session

    async def aclose(self) -> None:
        """Close the connections; safe to call twice."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def pause(tries: int) -> None:
    """Wait before another try, longer each time."""
    await asyncio.sleep(min(LONGEST_WAIT, WAIT * 2**tries))


async def error_of(reply: aiohttp.ClientResponse) -> ApiError:
    """Read what the API says of a request that it refused."""
    try:
        told = json.loads(await reply.text())
        return ApiError(reply.status, told["title"], told["detail"])
    except (ValueError, KeyError, TypeError):
        # Something between us and the API.
        return ApiError(reply.status, reply.reason or "", f"{reply.url}: {reply.status}")
