"""Sends messages by Apprise, which knows mail, Slack, Teams and a hundred more."""

import asyncio
import logging
from types import ModuleType

from milepost.errors import ConfigurationError
from milepost.notifiers.messages import Message
from milepost.notifiers.refusals import NotTaken


def check_url(url: str) -> None:
    """Raise ConfigurationError for what Apprise does not know."""
    apprise = _apprise()
    if apprise.Apprise.instantiate(url) is None:
        raise ConfigurationError(
            f"Apprise knows no such address as {url.partition('://')[0]}://…, or something is "
            "missing in it: see https://appriseit.com/services/"
        )


async def send(url: str, shown: str, message: Message) -> None:
    """Send a message. Raises NotTaken, with what Apprise says of it."""
    # The import takes its time, and whoever waits here has other things to do.
    apprise = await asyncio.to_thread(_apprise)
    told = apprise.Apprise()
    if not told.add(url):
        raise NotTaken(f"{shown}: Apprise does not know it")
    with apprise.LogCapture(level=logging.WARNING) as said:
        taken = await told.async_notify(title=message.title, body=message.text)
        reason = said.getvalue().strip()
    if not taken:
        raise NotTaken(f"{shown}: {reason.splitlines()[-1] if reason else 'not taken'}")


def _apprise() -> ModuleType:
    try:
        import apprise
    except ImportError:
        raise ConfigurationError(
            "only webhooks (https://…) are told without Apprise: pip install 'milepost[notify]'"
        ) from None
    found: ModuleType = apprise
    return found
