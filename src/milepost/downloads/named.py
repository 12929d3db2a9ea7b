"""Snapshots by name: which tables of which source go where, to be synced again and again."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection

from milepost.connectors import AnySource
from milepost.connectors.database_templates import plain_password
from milepost.database_urls import FILES, parse_url
from milepost.downloads.args import DownloadRecords
from milepost.downloads.children import Child
from milepost.downloads.sources import Sources
from milepost.errors import ConfigurationError
from milepost.snapshots import Mode
from milepost.store import snapshots
from milepost.store.database import Database
from milepost.store.snapshots import StoredSnapshot

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class TableWish:
    """How one table is kept; None: as the source says, and as it is found."""

    key: tuple[str, ...] | None = None
    mode: Mode | None = None
    history: bool = False


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A set of tables that mirrors those of a source. All of it is stored: secrets are `$NAME`s."""

    source: AnySource
    into: str
    """The database, as for a download; the path of a file is absolute."""
    tables: Mapping[str, TableWish] = field(default_factory=dict)
    """Empty: all that the source has when it is synced, each as `every` says."""
    every: TableWish = TableWish()
    children: Mapping[str, Child] = field(default_factory=dict)
    """Tables of what is inside of others' records; they count among all."""
    quarantine_limit: int = DownloadRecords.quarantine_limit

    def __post_init__(self) -> None:
        """Refuse a password in plain text."""
        problem = plain_password(self.into, "into")
        if problem is not None:
            raise ValueError(problem)


@dataclass(frozen=True, slots=True)
class NamedSnapshot:
    """A snapshot as it is stored."""

    name: str
    described: Snapshot
    created_at: datetime
    updated_at: datetime

    def unique_key(self, table: str) -> str:
        """Name what only one job at a time may do: fill this table of this destination.

        It is of the destination, not of the snapshot, for two may fill one database.
        """
        where = f"{self.described.into}\0{table}"
        return f"snapshot:{hashlib.sha256(where.encode()).hexdigest()[:24]}"

    def args(
        self, table: str, *, anew: bool = False, allow_mass_deletion: bool = False
    ) -> DownloadRecords:
        """Say what the job is to do that syncs a table."""
        described = self.described
        wish = described.tables.get(table, described.every)
        return DownloadRecords(
            source=described.source,
            into=described.into,
            tables=(table,),
            children={table: described.children[table]} if table in described.children else {},
            key=wish.key,
            mode=wish.mode,
            history=wish.history,
            quarantine_limit=described.quarantine_limit,
            anew=anew,
            allow_mass_deletion=allow_mass_deletion,
        )

    async def tables(self, sources: Sources, *, only: Sequence[str] = ()) -> Sequence[str]:
        """Say which tables it has; asks the source where it is to have all.

        Raises ConfigurationError for a table that it does not have, or a ConnectorError.
        """
        there = list(self.described.tables) or await _offered(self.described, sources)
        unknown = [table for table in only if table not in there]
        if unknown:
            raise ConfigurationError(
                f"the snapshot {self.name!r} has no table {', '.join(map(repr, unknown))}; it has: "
                f"{', '.join(there) or 'none'}"
            )
        return only or there


_SNAPSHOT: Final = TypeAdapter(Snapshot)


class Snapshots:
    """The snapshots of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, name: str, described: Snapshot, *, replace: bool = False) -> None:
        """Store a snapshot. Raises ConfigurationError for a name that is taken, or is none."""
        if not NAME.fullmatch(name):
            raise ConfigurationError(
                f"{name!r} cannot name a snapshot: take letters, digits, '.', '_' and '-'"
            )
        dumped = _SNAPSHOT.dump_json(described).decode()

        def write(conn: Connection) -> bool:
            row = (conn, self._database.clock, name, dumped)
            return (replace and snapshots.replace(*row)) or snapshots.add(*row)

        if not await self._database.run(write):
            raise ConfigurationError(
                f"there is a snapshot {name!r} already: --replace describes it anew"
            )

    async def find(self, name: str) -> NamedSnapshot:
        """Read a snapshot. Raises ConfigurationError, which names those there are."""
        return _read(await self._database.query(_found, name))

    async def listed(self) -> list[NamedSnapshot]:
        """Read all snapshots, by their names."""
        return [_read(stored) for stored in await self._database.query(snapshots.listed)]

    async def remove(self, name: str) -> None:
        """Forget a snapshot; its tables stay. Raises ConfigurationError where there is none."""

        def write(conn: Connection) -> None:
            _found(conn, name)
            snapshots.remove(conn, name)

        await self._database.run(write)


async def _offered(snapshot: Snapshot, sources: Sources) -> list[str]:
    connector = await sources.open(snapshot.source)
    try:
        return [*(table.name for table in await connector.tables()), *snapshot.children]
    finally:
        await connector.aclose()


def absolute(into: str) -> str:
    """Make the path of a file mean the same wherever a worker stands."""
    if into.startswith("$"):
        return into
    url = parse_url(into)
    if url.drivername not in FILES or not url.database or "$" in url.database:
        return into
    path = str(Path(url.database).absolute())
    return path if "://" not in into else str(url.set(database=path))


def _found(conn: Connection, name: str) -> StoredSnapshot:
    stored = snapshots.find(conn, name)
    if stored is None:
        there = ", ".join(each.name for each in snapshots.listed(conn)) or "none"
        raise ConfigurationError(f"there is no snapshot {name!r}; there are: {there}")
    return stored


def _read(stored: StoredSnapshot) -> NamedSnapshot:
    try:
        described: Any = _SNAPSHOT.validate_json(stored.described)
    except ValidationError as error:
        raise ConfigurationError(
            f"the snapshot {stored.name!r} cannot be read, perhaps because its source is of a kind "
            f"that is not installed here: {error.errors()[0]['msg']}"
        ) from None
    return NamedSnapshot(stored.name, described, stored.created_at, stored.updated_at)
