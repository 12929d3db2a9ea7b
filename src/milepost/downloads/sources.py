"""Opens sources with what workers share about them."""

import hashlib
import json
from dataclasses import dataclass, field

from milepost.connections import Connections
from milepost.connectors import Access, Connector, Secrets, Source, dump_source, open_connector
from milepost.connectors.budgets import Budgets, OwnBudgets
from milepost.connectors.connection.chosen import Chosen
from milepost.connectors.connection.source import ConnectionSource
from milepost.connectors.connector import OnLog, OnWait
from milepost.connectors.tokens import OwnTokens, Tokens
from milepost.downloads.budgets import ObservedBudgets
from milepost.errors import FatalConnectorError, SecretKeyUnfit
from milepost.jobs.events import Observer


@dataclass(frozen=True, slots=True)
class Found:
    """A source that can be opened, whatever it was named by."""

    source: Source
    secrets: Secrets = field(repr=False)
    connection: str | None = None
    tables: tuple[str, ...] = ()
    """Those to read. Empty: all."""

    @property
    def fingerprint(self) -> str:
        """Tell one source from another, so that a bookmark is used only where it was left.

        Two connections differ even where they are described alike: their credentials open
        different accounts. A connection that is described otherwise is another source.
        """
        described = dump_source(self.source)
        if self.connection is not None:
            described = {"connection": self.connection, "source": described}
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:32]


class Sources:
    """The service through which a job reads a source.

    `secrets` are the values behind `$NAME`. Requests are counted by `budgets` and tokens kept by
    `tokens`, for all workers together where those are shared. `connections` are the sources that
    have names; what they hold is read each time, so that a change counts from the next attempt on.
    `observe` is told what was downloaded and which requests had to wait.
    """

    def __init__(
        self,
        secrets: Secrets,
        *,
        budgets: Budgets | None = None,
        tokens: Tokens | None = None,
        connections: Connections | None = None,
        observe: Observer = lambda _: None,
    ) -> None:
        self.secrets = secrets
        self.observe = observe
        self._budgets = ObservedBudgets(budgets or OwnBudgets(), observe)
        self._tokens = tokens or OwnTokens()
        self._connections = connections

    async def find(self, source: Source) -> Found:
        """Look up what a source stands for; one that is no connection stands for itself.

        Raises FatalConnectorError for a connection that is missing or cannot be decrypted.
        """
        if not isinstance(source, ConnectionSource):
            return Found(source, self.secrets)
        if self._connections is None:
            raise FatalConnectorError(
                f"the connection {source.name!r} is in a store, and there is none here"
            )
        try:
            stored = await self._connections.find(source.name)
        except SecretKeyUnfit as error:
            raise FatalConnectorError(str(error)) from None
        secrets = self.secrets.with_values(stored.credentials)
        return Found(source.resolved(stored.source), secrets, source.name, source.tables)

    async def open(
        self,
        source: Source | Found,
        *,
        on_wait: OnWait | None = None,
        on_log: OnLog | None = None,
    ) -> Connector:
        """Open a source; nothing of it is asked or read yet.

        Raises FatalConnectorError for a source that is described badly or lacks a secret.
        """
        found = source if isinstance(source, Found) else await self.find(source)
        access = Access(
            secrets=found.secrets,
            on_wait=on_wait,
            on_log=on_log,
            budgets=self._budgets,
            tokens=self._tokens,
        )
        connector = open_connector(found.source, access)
        return Chosen(connector, found.tables) if found.tables else connector
