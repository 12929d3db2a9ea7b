"""What is behind the names: sources and their credentials, decrypted only where they are used."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import sqlalchemy

from milepost.connections.cipher import Cipher
from milepost.connections.keyring import Keyring
from milepost.connectors import Source, check_source, dump_source
from milepost.connectors.secrets import named_texts, references
from milepost.errors import (
    ConfigurationError,
    ConnectionExists,
    FatalConnectorError,
    SecretKeyUnfit,
)
from milepost.store import connections, routes, tokens
from milepost.store.connections import StoredConnection
from milepost.store.database import Database

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Connection:
    """A source by its name. `credentials` are the values behind some of its `$NAME`s."""

    name: str
    source: Source
    credentials: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """What can be said of a connection without its key. `problem`: why it has no source."""

    name: str
    source: Source | None
    problem: str | None
    encrypted: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Readable:
    """How many stored secrets there are, and why some cannot be read."""

    connections: int
    tokens: int
    of_older_keys: int
    problems: Sequence[str]


@dataclass(frozen=True, slots=True)
class Rotated:
    """How many stored secrets were encrypted again, of each sort."""

    connections: int
    tokens: int
    routes: int


class Connections:
    """The connections of one store. Only what holds credentials needs the key."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    async def add(
        self, name: str, source: Source, credentials: Mapping[str, str], *, replace: bool = False
    ) -> None:
        """Store a connection.

        Raises ConfigurationError for what cannot be a name, or a credential that the source does
        not refer to; ConnectionExists where the name is taken.
        """
        if not NAME.fullmatch(name):
            raise ConfigurationError(
                f"{name!r} cannot name a connection: take letters, digits, '.', '_' and '-'"
            )
        if source.kind == "connection":
            raise ConfigurationError("a connection leads to a source, not to another connection")
        _check_known(credentials, names_in(source), "this source")
        described = json.dumps(dump_source(source))
        encrypted = _encrypt(self._keyring.cipher(), credentials) if credentials else None

        def write(conn: sqlalchemy.Connection) -> bool:
            row = (conn, self._database.clock, name, described, encrypted)
            return (replace and connections.replace(*row)) or connections.add(*row)

        if not await self._database.run(write):
            raise ConnectionExists(name)

    async def find(self, name: str) -> Connection:
        """Read a connection with its credentials.

        Raises FatalConnectorError, which names those there are, or SecretKeyUnfit.
        """
        stored = await self._database.query(_found, name)
        return Connection(name, _source(stored), self._credentials(stored))

    async def look(self, name: str) -> Listed:
        """Read what is no secret of a connection. Raises FatalConnectorError without one."""
        return _listed(await self._database.query(_found, name))

    async def listed(self) -> list[Listed]:
        """Read what is no secret of all connections."""
        return [_listed(stored) for stored in await self._database.query(connections.listed)]

    async def remove(self, name: str) -> None:
        """Forget a connection and its credentials. Raises FatalConnectorError without one."""

        def write(conn: sqlalchemy.Connection) -> None:
            _found(conn, name)
            connections.remove(conn, name)

        await self._database.run(write)

    async def set_credential(self, name: str, credential: str, value: str) -> None:
        """Put a new value behind a `$NAME` of a connection.

        Raises ConfigurationError for one that its source does not refer to.
        """
        cipher = self._keyring.cipher()

        def write(conn: sqlalchemy.Connection) -> None:
            stored = _found(conn, name, to_write=True)
            _check_known([credential], names_in(_source(stored)), f"the connection {name!r}")
            credentials = {**self._credentials(stored), credential: value}
            connections.replace(
                conn, self._database.clock, name, stored.source, _encrypt(cipher, credentials)
            )

        await self._database.run(write)

    async def rotate(self, *, forget: bool = False) -> Rotated:
        """Encrypt everything with the first key.

        What no key decrypts stops it, and nothing is changed; with `forget` it is given up.
        Raises SecretKeyUnfit.
        """
        cipher = self._keyring.cipher()

        def again(what: str, stored: str) -> str | None:
            try:
                return cipher.encrypt(cipher.decrypt(stored, what=what))
            except SecretKeyUnfit:
                if forget:
                    return None
                raise

        def write(conn: sqlalchemy.Connection) -> Rotated:
            return Rotated(
                connections.reencrypt(conn, lambda name, stored: again(_what(name), stored)),
                tokens.reencrypt(conn, lambda stored: again("a token", stored)),
                routes.reencrypt(conn, lambda name, stored: again(_whose(name), stored)),
            )

        return await self._database.run(write)

    async def check(self) -> Readable:
        """Try to decrypt everything."""
        rows = await self._database.query(connections.listed)
        kept = await self._database.query(tokens.encrypted)
        secrets = [(_what(row.name), row.credentials) for row in rows if row.credentials]
        secrets += [("a token", token) for token in kept]
        told = await self._database.query(routes.listed)
        secrets += [(_whose(route.name), route.address) for route in told]
        problems, older = [], 0
        try:
            cipher = self._keyring.cipher() if secrets or self._keyring.given else None
        except SecretKeyUnfit as error:
            return Readable(len(rows), len(kept), 0, [str(error)])
        for what, encrypted in secrets:
            if cipher is None:
                break
            try:
                cipher.decrypt(encrypted, what=what)
                older += not cipher.is_newest(encrypted)
            except SecretKeyUnfit as error:
                problems.append(str(error))
        return Readable(len(rows), len(kept), older, list(dict.fromkeys(problems)))

    async def hold_secrets(self) -> bool:
        """Whether anything is encrypted here, so that a new key would be the wrong one."""

        def read(conn: sqlalchemy.Connection) -> bool:
            encrypted = any(row.credentials for row in connections.listed(conn))
            return encrypted or bool(tokens.encrypted(conn)) or bool(routes.listed(conn))

        return await self._database.query(read)

    async def ensure_key(self) -> Path | None:
        """Make the first key, where none is and none is missing; returns the file that was made."""
        # Where one is missing, a new one would be the wrong one.
        if self._keyring.given or await self.hold_secrets():
            return None
        return self._keyring.make_file()

    def _credentials(self, stored: StoredConnection) -> dict[str, str]:
        if stored.credentials is None:
            return {}
        plain = self._keyring.cipher().decrypt(stored.credentials, what=_what(stored.name))
        credentials: dict[str, str] = json.loads(plain)
        return credentials


def names_in(source: Source) -> list[str]:
    """Name the variables that a source refers to."""
    texts = named_texts("", dump_source(source))
    return sorted({name for _, text in texts for name in references(text)})


def _check_known(given: Iterable[str], known: Sequence[str], where: str) -> None:
    for name in given:
        if name not in known:
            there = ", ".join(f"${each}" for each in known) or "none"
            raise ConfigurationError(f"{where} has no ${name}; it has: {there}")


def _found(conn: sqlalchemy.Connection, name: str, *, to_write: bool = False) -> StoredConnection:
    stored = connections.find(conn, name, to_write=to_write)
    if stored is None:
        names = [each.name for each in connections.listed(conn)]
        raise FatalConnectorError(
            f"there is no connection {name!r}; there are: {', '.join(names) or 'none'}"
        )
    return stored


def _source(stored: StoredConnection) -> Source:
    try:
        return check_source(json.loads(stored.source))
    except ValueError:
        problem = "its source is no JSON, so the row is damaged"
    except FatalConnectorError as error:
        problem = str(error)
    raise FatalConnectorError(
        f"the connection {stored.name!r} cannot be read: {problem}. Describe it again with "
        "`milepost connections add --replace`"
    )


def _listed(stored: StoredConnection) -> Listed:
    source, problem = None, None
    try:
        source = _source(stored)
    except FatalConnectorError as error:
        problem = str(error)
    return Listed(
        stored.name, source, problem, stored.credentials is not None,
        stored.created_at, stored.updated_at,
    )  # fmt: skip


def _encrypt(cipher: Cipher, credentials: Mapping[str, str]) -> str:
    return cipher.encrypt(json.dumps(dict(credentials)))


def _what(name: str) -> str:
    return f"what is secret of the connection {name!r}"


def _whose(name: str) -> str:
    return f"the address of the route {name!r}"
