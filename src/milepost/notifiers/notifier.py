"""Sends what is to be told, each message until it was taken."""

import asyncio
import logging
import random
from datetime import UTC, datetime, timedelta
from typing import Final

from milepost.connections import Keyring
from milepost.errors import ConfigurationError
from milepost.notifiers import apprise, webhooks
from milepost.notifiers.addresses import Address
from milepost.notifiers.messages import Message, compose
from milepost.notifiers.refusals import NotTaken
from milepost.notifiers.routes import Routes
from milepost.settings import NotifySettings
from milepost.store import notices
from milepost.store.database import Database
from milepost.store.notices import Batch

logger = logging.getLogger("milepost.notifiers")

LONGEST_WAIT: Final = 900.0
# After so long nobody wants to be told any more.
KEEP_FOR: Final = timedelta(days=7)


class Notifier:
    """Sends the messages of all routes; any number of them may run on one store."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        *,
        settings: NotifySettings,
    ) -> None:
        self._database = database
        self._routes = Routes(database, keyring)
        self._public_url = settings.public_url
        self._gather_for = settings.gather_for
        self._rest_for = settings.rest_for
        self._first_wait = settings.first_wait.total_seconds()

    async def tick(self) -> None:
        """Send each route what is due."""
        clock, gather_for = self._database.clock, self._gather_for
        due = await self._database.query(notices.due, clock, gather_for=gather_for)
        # Side by side: one that answers late holds up no other.
        await asyncio.gather(*(self._serve(route) for route in due))

    async def _serve(self, route: str) -> None:
        batch = await self._database.run(
            notices.take, self._database.clock, route, gather_for=self._gather_for
        )
        if batch is not None:
            await self._send(route, batch)

    async def tidy(self) -> None:
        """Give up what nobody took for a week, and say so."""
        dropped = await self._database.run(notices.drop_older, self._database.clock, KEEP_FOR)
        for route, count in dropped.items():
            logger.error(
                "%d notices for route %s were dropped: it took nothing for 7 days", count, route
            )

    async def _send(self, route: str, batch: Batch) -> None:
        clock = self._database.clock
        message = compose(batch, at=datetime.now(UTC), public_url=self._public_url)
        try:
            await send(await self._routes.address(route), message)
        except (NotTaken, ConfigurationError) as error:
            await self._put_off(route, str(error), getattr(error, "retry_after", None))
        except Exception as error:  # noqa: BLE001 (a hundred services' own code)
            # Its text may hold the address.
            await self._put_off(route, f"sending it failed with {type(error).__name__}", None)
        else:
            await self._database.run(notices.sent, clock, route, batch.id, rest_for=self._rest_for)

    async def _put_off(self, route: str, reason: str, asked: float | None) -> None:
        tries = await self._database.query(notices.tries, route)
        again = timedelta(seconds=self._wait(tries, asked))
        logger.warning(
            "route %s has not taken a message, again in %.0f s: %s",
            route, again.total_seconds(), reason,
        )  # fmt: skip
        await self._database.run(notices.not_sent, self._database.clock, route, reason, again=again)

    def _wait(self, tries: int, asked: float | None) -> float:
        doubled = min(LONGEST_WAIT, self._first_wait * 2.0 ** min(tries, 30))
        return max(asked or 0, doubled * random.uniform(0.8, 1.2))  # noqa: S311 (no secret)


async def send(address: Address, message: Message) -> None:
    """Send a message once. Raises NotTaken, or ConfigurationError without Apprise."""
    if address.is_webhook:
        await webhooks.post(address, message)
    else:
        await apprise.send(address.url, address.shown, message)
