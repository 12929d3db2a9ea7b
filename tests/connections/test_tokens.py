"""A token is got once, kept before it is used, and by another where its getter died."""

import asyncio
from datetime import timedelta

import pytest

from milepost.connections import Keyring, StoredTokens
from milepost.connectors.tokens import Token
from milepost.errors import AuthenticationRefused, FatalConnectorError, RetryableConnectorError
from milepost.settings import SecretKeySettings
from milepost.store import tokens
from milepost.store.database import Database
from tests.store.store import TurnedClock

KEY = "of one set of credentials"


class Server:
    """Gives tokens; a refresh token that comes back a second time ends all of them."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.wait = asyncio.Event()
        self.wait.set()
        self.came = asyncio.Event()

    async def fetch(self, before: Token | None) -> Token:
        used = None if before is None else before.refresh_token
        if used in self.asked:
            raise AuthenticationRefused("that refresh token is used up")
        self.came.set()
        await self.wait.wait()
        self.asked.append(used)
        number = len(self.asked)
        return Token(f"access-{number}", None, f"refresh-{number}")


@pytest.fixture
def server() -> Server:
    return Server()


class Workers:
    def __init__(self, database: Database, keys: list[str]) -> None:
        self._database = database
        self._keys = keys

    def one(self, **options: timedelta) -> StoredTokens:
        keyring = Keyring(SecretKeySettings(keys=",".join(self._keys)), self._database)
        return StoredTokens(self._database, keyring, **options)

    async def stored(self) -> str | None:
        return await self._database.query(tokens.find, KEY)


@pytest.fixture
def workers(database: Database, keys: list[str]) -> Workers:
    return Workers(database, keys[:1])


async def test_many_ask_and_one_gets_it(workers: Workers, server: Server) -> None:
    many = [workers.one() for _ in range(4)]
    for round_, stale in enumerate([None, Token("access-1", None, "refresh-1")], start=1):
        got = await asyncio.gather(*(each.renew(KEY, stale, server.fetch) for each in many))
        assert got == [Token(f"access-{round_}", None, f"refresh-{round_}")] * 4
    assert server.asked == [None, "refresh-1"]
    assert await workers.one().current(KEY) == Token("access-2", None, "refresh-2")
    assert "access-2" not in str(await workers.stored())


async def test_others_wait_as_long_as_the_one_lives_and_no_longer(
    workers: Workers, server: Server, clock: TurnedClock
) -> None:
    server.wait.clear()
    lease, patience = timedelta(seconds=0.3), timedelta(seconds=1.2)
    first = asyncio.create_task(workers.one(lease_for=lease).renew(KEY, None, server.fetch))
    await server.came.wait()
    waiting = asyncio.create_task(workers.one(wait_at_most=patience).renew(KEY, None, server.fetch))
    # It renews its lease: however often that would have run out, nobody takes over.
    while not waiting.done():
        clock.turn(timedelta(seconds=0.2))
        await asyncio.sleep(0.15)
    with pytest.raises(RetryableConnectorError, match="another worker has been getting a new tok"):
        await waiting
    server.wait.set()
    assert (await first).value == "access-1"
    assert server.asked == [None]


async def test_one_that_died_is_replaced(
    workers: Workers, server: Server, database: Database, clock: TurnedClock
) -> None:
    lease = timedelta(seconds=15)
    claimed = await database.run(tokens.claim, clock, KEY, seen=None, lease_for=lease)
    assert claimed is not None
    assert await database.run(tokens.claim, clock, KEY, seen=None, lease_for=lease) is None
    clock.turn(timedelta(seconds=16))
    assert await workers.one().renew(KEY, None, server.fetch) == Token(
        "access-1", None, "refresh-1"
    )
    assert await database.run(tokens.extend, clock, claimed, lease_for=lease) is None


async def test_a_token_that_came_late_is_kept_and_the_other_takes_it(
    workers: Workers, server: Server, database: Database, clock: TurnedClock
) -> None:
    old = await workers.one().renew(KEY, None, server.fetch)
    server.wait.clear()
    server.came.clear()
    late = asyncio.create_task(workers.one().renew(KEY, old, server.fetch))
    await server.came.wait()
    clock.turn(timedelta(seconds=16))  # It seems dead, and is only slow.

    async def refused(before: Token | None) -> Token:
        # The late one's request has used the refresh token up.
        server.wait.set()
        await late
        raise AuthenticationRefused("that refresh token is used up")

    assert await workers.one().renew(KEY, old, refused) == Token("access-2", None, "refresh-2")
    assert await workers.one().current(KEY) == await late


async def test_a_job_that_is_stopped_on_the_way_still_keeps_its_token(
    workers: Workers, server: Server
) -> None:
    server.wait.clear()
    asking = asyncio.create_task(workers.one().renew(KEY, None, server.fetch))
    await server.came.wait()
    asking.cancel()
    await asyncio.sleep(0)
    server.wait.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await workers.one().current(KEY) == Token("access-1", None, "refresh-1")


async def test_a_failed_attempt_lets_the_next_one_try_at_once(
    workers: Workers, server: Server
) -> None:
    async def fails(_: Token | None) -> Token:
        raise RetryableConnectorError("away")

    with pytest.raises(RetryableConnectorError, match="away"):
        await workers.one().renew(KEY, None, fails)
    async with asyncio.timeout(5):
        assert (await workers.one().renew(KEY, None, server.fetch)).value == "access-1"


async def test_a_token_of_another_key_is_not_replaced_and_a_damaged_one_is(
    database: Database, keys: list[str], server: Server
) -> None:
    await Workers(database, [keys[0]]).one().renew(KEY, None, server.fetch)
    other = Workers(database, [keys[1]])
    for asked in (other.one().current(KEY), other.one().renew(KEY, None, server.fetch)):
        with pytest.raises(FatalConnectorError, match="the token of this source cannot be decryp"):
            await asked
    assert server.asked == [None]
    stored = await other.stored()
    await database.run(tokens.keep, database.clock, KEY, seen=stored, token="damaged")
    server.asked.clear()
    assert (await other.one().renew(KEY, None, server.fetch)).value == "access-1"


async def test_a_rotation_in_between_costs_no_token(
    database: Database, keys: list[str], server: Server
) -> None:
    async def rotated(before: Token | None) -> Token:
        keyring = Keyring(SecretKeySettings(keys=f"{keys[1]},{keys[0]}"), database)
        cipher = keyring.cipher()
        await database.run(
            tokens.reencrypt, lambda stored: cipher.encrypt(cipher.decrypt(stored, what="it"))
        )
        return await server.fetch(before)

    both = Workers(database, keys[:2])
    old = await both.one().renew(KEY, None, server.fetch)
    await both.one().renew(KEY, old, rotated)
    assert await both.one().current(KEY) == Token("access-2", None, "refresh-2")
