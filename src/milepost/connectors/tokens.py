"""The port between sources and whoever keeps the tokens that they have been given."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Token:
    """What a source has given. `expires_at` is in seconds of time.time()."""

    value: str
    expires_at: float | None = None
    refresh_token: str | None = None


Fetch = Callable[[Token | None], Awaitable[Token]]
"""Gets a new token; is given the one before, which may hold a newer refresh token."""


class Tokens(Protocol):
    """Keeps tokens by a key that stands for one set of credentials at one source."""

    async def current(self, key: str) -> Token | None:
        """The newest token."""
        ...

    async def renew(self, key: str, stale: Token | None, fetch: Fetch) -> Token:
        """Put a new token in the place of a stale one; fetched once, however many ask for it."""
        ...


class OwnTokens:
    """Keeps them in this process."""

    def __init__(self) -> None:
        self._tokens: dict[str, Token] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def current(self, key: str) -> Token | None:
        """The newest token."""
        return self._tokens.get(key)

    async def renew(self, key: str, stale: Token | None, fetch: Fetch) -> Token:
        """Put a new token in the place of a stale one."""
        # Whoever asks may be cancelled; what the source has given must not get lost with him.
        return await asyncio.shield(self._renew(key, stale, fetch))

    async def _renew(self, key: str, stale: Token | None, fetch: Fetch) -> Token:
        async with self._locks[key]:
            found = self._tokens.get(key)
            if found is None or found == stale:
                found = self._tokens[key] = await fetch(found)
            return found
