"""Who is told of what. Addresses open something, so that they are encrypted."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy

from milepost.connections import Keyring
from milepost.errors import ConfigurationError, SecretKeyUnfit
from milepost.notifiers.addresses import Address, check, load
from milepost.store import routes
from milepost.store.database import Database
from milepost.store.notices import About
from milepost.store.routes import StoredRoute

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Route:
    """A route as people see it. `shown` is what may be shown of its address."""

    name: str
    shown: str
    about: Sequence[About]
    kind: str | None
    queue: str | None
    owner: str | None
    sent_at: datetime | None
    waiting: int
    tries: int
    error: str | None


class Routes:
    """The routes of one store."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    async def add(
        self,
        name: str,
        address: Address,
        *,
        about: Sequence[About] = (),
        kind: str | None = None,
        queue: str | None = None,
        owner: str | None = None,
    ) -> None:
        """Tell an address of something from now on; `about` nothing means all there is.

        Raises ConfigurationError for a name that is taken or an address that is none, and
        SecretKeyUnfit without a key.
        """
        if not NAME.fullmatch(name):
            raise ConfigurationError(
                f"{name!r} cannot name a route: take letters, digits, '.', '_' and '-'"
            )
        check(address)
        stored = StoredRoute(
            name=name, address=self._keyring.cipher().encrypt(address.dump()),
            about=tuple(about) or tuple(About), kind=kind, queue=queue, owner=owner,
        )  # fmt: skip
        if not await self._database.run(routes.add, self._database.clock, stored):
            raise ConfigurationError(
                f"there is a route {name!r} already: remove it first, or take another name"
            )

    async def listed(self) -> list[Route]:
        """Read all routes, in the order of their names."""
        return [self._shown(each) for each in await self._database.query(routes.listed)]

    async def address(self, name: str) -> Address:
        """Read where a route leads. Raises ConfigurationError without one, or SecretKeyUnfit."""
        stored = await self._database.query(routes.address_of, name)
        if stored is None:
            raise ConfigurationError(await self._database.query(_missing, name))
        return self._open(name, stored)

    async def remove(self, name: str) -> None:
        """Tell an address nothing more. Raises ConfigurationError where there is no such route."""
        if not await self._database.run(routes.remove, name):
            raise ConfigurationError(await self._database.query(_missing, name))

    def _open(self, name: str, stored: str) -> Address:
        return load(self._keyring.cipher().decrypt(stored, what=f"the address of route {name!r}"))

    def _shown(self, stored: StoredRoute) -> Route:
        try:
            shown = self._open(stored.name, stored.address).shown
        except SecretKeyUnfit:
            shown = "(no key reads it)"
        return Route(
            stored.name, shown, stored.about, stored.kind, stored.queue, stored.owner,
            stored.sent_at, stored.waiting, stored.tries, stored.error,
        )  # fmt: skip


def _missing(conn: sqlalchemy.Connection, name: str) -> str:
    names = [each.name for each in routes.listed(conn)]
    return f"there is no route {name!r}; there are: {', '.join(names) or 'none'}"
