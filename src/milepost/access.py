"""Who may use the API: tokens with a role, and perhaps bound to an owner of jobs."""

import contextlib
import hashlib
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection

from milepost.errors import ConfigurationError, TooManyLogins
from milepost.store import access, logins
from milepost.store.access import AccessToken
from milepost.store.database import Database

PREFIX: Final = "milepost_"
LONGEST_NAME: Final = 100


class Role(StrEnum):
    """What a caller may do; each role may do what those before it may."""

    VIEWER = "viewer"
    """Look."""
    OPERATOR = "operator"
    """Submit, cancel, retry, reprioritise, sync."""
    ADMIN = "admin"
    """See the tokens, revoke them, make others."""

    def may(self, needed: "Role") -> bool:
        """Tell whether this role is enough."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. With an `owner` only that owner's jobs exist for him."""

    name: str
    role: Role
    owner: str | None = None


class Access:
    """The tokens of one store. Each is shown once, when it is made; the store has its hash."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, name: str, role: Role, *, owner: str | None = None) -> tuple[int, str]:
        """Make a token; returns its id and the token. Raises ConfigurationError for a bad name."""
        for what, given in (("name", name), ("owner", owner)):
            if given is not None and not 0 < len(given) <= LONGEST_NAME:
                raise ConfigurationError(
                    f"a token's {what} has 1 to {LONGEST_NAME} characters, not {len(given)}"
                )
        token = PREFIX + secrets.token_urlsafe(32)

        def write(conn: Connection) -> int:
            return access.add(
                conn, self._database.clock, name=name, hashed=_hash(token), role=role, owner=owner
            )

        return await self._database.run(write), token

    async def caller(self, token: str) -> Caller | None:
        """Say whom a token stands for; None where it opens nothing."""
        found = await self._database.query(access.find, _hash(token))
        return None if found is None else Caller(found.name, Role(found.role), found.owner)

    async def log_in(self, token: str, *, address: str) -> Caller | None:
        """Say whom a token stands for that somebody at an address has typed, or None.

        Raises TooManyLogins after several that opened nothing, whichever process they came to.
        """
        bucket = _bucket(address)
        wait = await self._database.run(logins.begin, self._database.clock, bucket)
        if wait is not None:
            raise TooManyLogins(logins.MOST, wait)
        caller = await self.caller(token)
        if caller is not None:
            await self._database.run(logins.succeeded, bucket)
        return caller

    async def needed(self) -> bool:
        """Tell whether there is any token: then nobody gets in without one."""
        return await self._database.query(access.any_valid)

    async def listed(self) -> Sequence[AccessToken]:
        """Read what is known of all tokens."""
        return await self._database.query(access.listed)

    async def revoke(self, token_id: int) -> None:
        """Let a token open nothing from now on. Raises ConfigurationError where it is none."""

        def write(conn: Connection) -> bool:
            return access.revoke(conn, self._database.clock, token_id)

        if not await self._database.run(write):
            raise ConfigurationError(
                f"no token {token_id} to revoke: `milepost tokens list` shows those there are"
            )


def _bucket(address: str) -> int:
    with contextlib.suppress(ValueError):
        ip = ipaddress.ip_address(address)
        if isinstance(ip, ipaddress.IPv6Address):
            # Whoever has one address of version 6 has a whole network of them.
            network = ipaddress.ip_network((ip, 64), strict=False)
            address = str(ip.ipv4_mapped or network.network_address)
    return int.from_bytes(hashlib.sha256(address.encode()).digest()[:8]) % logins.BUCKETS


def _hash(token: str) -> str:
    # 256 random bits need no salt and no slow hash.
    return hashlib.sha256(token.encode()).hexdigest()
