"""Asks for pages before their turn, a few at a time, while the one before is written."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from milepost.connectors.http.client import HttpClient, Request
from milepost.connectors.http.replies import Reply


class ReadAhead:
    """What was asked for and not yet called for: never more than `limit` requests."""

    def __init__(self, client: HttpClient, limit: int) -> None:
        self._client = client
        self._limit = limit
        self._asked: dict[str, asyncio.Task[tuple[Reply, Any]]] = {}

    async def ask(self, request: Request) -> tuple[Reply, Any]:
        """Ask, or take the answer that is on its way."""
        under_way = self._asked.pop(_name(request), None)
        if under_way is None:
            return await self._client.ask(request)
        try:
            return await under_way
        finally:
            under_way.cancel()

    def expect(self, requests: Iterable[Request]) -> None:
        """Ask for these, as far as there is room, in the order in which they will be called for."""
        for request in requests:
            if len(self._asked) >= self._limit:
                return
            name = _name(request)
            if name not in self._asked:
                self._asked[name] = asyncio.create_task(self._client.ask(request))

    async def forget(self) -> None:
        """Give up what nobody will call for."""
        dropped = list(self._asked.values())
        self._asked.clear()
        for task in dropped:
            task.cancel()
        await asyncio.gather(*dropped, return_exceptions=True)


def _name(request: Request) -> str:
    return json.dumps([request.method, request.url, request.body], sort_keys=True)
