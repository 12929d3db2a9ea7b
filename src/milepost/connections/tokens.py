"""Tokens that all workers of a store share: each is got once, and kept before it is used."""

import asyncio
import contextlib
import json
import time
from collections.abc import Coroutine
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy.exc import DBAPIError

from milepost.connections.cipher import is_token
from milepost.connections.keyring import Keyring
from milepost.connectors.tokens import Fetch, Token
from milepost.errors import (
    AuthenticationRefused,
    FatalConnectorError,
    RetryableConnectorError,
    SecretKeyUnfit,
    StoreError,
)
from milepost.store import tokens
from milepost.store.database import Database
from milepost.store.tokens import Renewal

# How long a worker that gets a token may be silent before another does it instead.
LEASE: Final = timedelta(seconds=15)
WAIT_AT_MOST: Final = timedelta(minutes=2)
LOOK_EVERY: Final = 0.2
# How long a job that was told to stop stays for a token that is on its way.
LAST_WORD: Final = 10.0


class StoredTokens:
    """Keeps them in the store, encrypted. One worker renews a token, and the others wait for it.

    A server may take the refresh token back in the moment in which it gives another. So the new one
    is stored before anybody uses it, and whoever is getting it is not stopped on the way.
    """

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        *,
        lease_for: timedelta = LEASE,
        wait_at_most: timedelta = WAIT_AT_MOST,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._lease_for = lease_for
        self._wait_at_most = wait_at_most
        self._last: dict[str, Token] = {}

    async def current(self, key: str) -> Token | None:
        """The newest token that this process has seen: one that is refused will be renewed."""
        return self._last.get(key) or (await self._read(key))[1]

    async def renew(self, key: str, stale: Token | None, fetch: Fetch) -> Token:
        """Put a new token in the place of a stale one; fetched once, however many ask for it.

        Raises RetryableConnectorError where another takes too long, and FatalConnectorError where
        the stored one cannot be decrypted.
        """
        deadline = time.monotonic() + self._wait_at_most.total_seconds()
        while True:
            stored, found = await self._read(key)
            if found is not None and found != stale:
                return found
            renewal = await self._database.run(
                tokens.claim, self._database.clock, key, seen=stored, lease_for=self._lease_for
            )
            if renewal is not None:
                return await _to_its_end(self._renewed(renewal, stored, found, fetch))
            if time.monotonic() > deadline:
                raise RetryableConnectorError(
                    "another worker has been getting a new token for "
                    f"{self._wait_at_most.total_seconds():.0f} s"
                )
            await asyncio.sleep(LOOK_EVERY)

    async def _renewed(
        self, renewal: Renewal, stored: str | None, before: Token | None, fetch: Fetch
    ) -> Token:
        async with _Held(self._database, renewal, self._lease_for):
            try:
                token = await fetch(before)
            except AuthenticationRefused:
                # Somebody who took us for dead may have been quicker, with the same refresh token.
                _, found = await self._read(renewal.key)
                if found is None or found == before:
                    raise
                return found
            return await self._keep(renewal.key, stored, before, token)

    async def _keep(
        self, key: str, stored: str | None, before: Token | None, token: Token
    ) -> Token:
        """Store a token; returns the one that counts, which may be another's by now."""
        self._last[key] = token
        deadline = time.monotonic() + self._wait_at_most.total_seconds()
        while True:
            try:
                if await self._database.run(
                    tokens.keep, self._database.clock, key, seen=stored, token=self._encrypt(token)
                ):
                    return token
                stored, found = await self._read(key)
            except (StoreError, DBAPIError):
                # The one before may be worth nothing any more, so this one must not get lost.
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(LOOK_EVERY)
                continue
            if found is not None and found != before:
                return found

    async def _read(self, key: str) -> tuple[str | None, Token | None]:
        """Read a token as it is stored, and as it is."""
        stored = await self._database.query(tokens.find, key)
        # What is damaged is lost. What another key has encrypted is not, and must not be replaced.
        if stored is None or not is_token(stored):
            return stored, None
        try:
            plain = self._keyring.cipher().decrypt(stored, what="the token of this source")
        except SecretKeyUnfit as error:
            raise FatalConnectorError(str(error)) from None
        value, expires_at, refresh_token = json.loads(plain)
        token = self._last[key] = Token(value, expires_at, refresh_token)
        return stored, token

    def _encrypt(self, token: Token) -> str:
        plain = json.dumps([token.value, token.expires_at, token.refresh_token])
        return self._keyring.cipher().encrypt(plain)


class _Held:
    """Holds the right to renew for as long as this process lives, and gives it up at the end."""

    def __init__(self, database: Database, renewal: Renewal, lease_for: timedelta) -> None:
        self._database = database
        self._renewal = renewal
        self._lease_for = lease_for

    async def __aenter__(self) -> Self:
        self._holding = asyncio.create_task(self._hold())
        return self

    async def __aexit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        self._holding.cancel()
        await asyncio.wait([self._holding])
        # Else it runs out by itself.
        with contextlib.suppress(StoreError, DBAPIError):
            await self._database.run(tokens.give_up, self._renewal)

    async def _hold(self) -> None:
        held: Renewal | None = self._renewal
        while held is not None:
            self._renewal = held
            await asyncio.sleep(self._lease_for.total_seconds() / 3)
            with contextlib.suppress(StoreError, DBAPIError):
                held = await self._database.run(
                    tokens.extend, self._database.clock, held, lease_for=self._lease_for
                )


async def _to_its_end(work: Coroutine[Any, Any, Token]) -> Token:
    """Run work that a cancelled wait does not stop: then it is given a last while."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running], timeout=LAST_WORD)
        if not running.done():
            running.cancel()
            await asyncio.wait([running])
        if not running.cancelled():
            running.exception()
        raise
