"""Where messages go: to a webhook of one's own, or to whatever Apprise knows."""

import base64
import binascii
import json
import secrets
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from milepost.errors import ConfigurationError

# As the Standard Webhooks specification has it: 24 to 64 octets behind this prefix.
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 (what secrets begin with)
LEAST_OCTETS: Final = 24
MOST_OCTETS: Final = 64


@dataclass(frozen=True, slots=True)
class Address:
    """A URL; `secret` signs what is posted to a webhook."""

    url: str
    secret: str | None = None

    @property
    def is_webhook(self) -> bool:
        """Whether messages are posted there as JSON; all else is Apprise's."""
        return self.url.startswith(("http://", "https://"))

    @property
    def shown(self) -> str:
        """What may be shown of it: the rest may open something."""
        parts = urlsplit(self.url)
        if self.is_webhook:
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"
        return f"{parts.scheme}://…"

    def dump(self) -> str:
        """Spell it as text, to be encrypted."""
        return json.dumps({"url": self.url, "secret": self.secret})


def make_secret() -> str:
    """Make a secret for a webhook."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def load(text: str) -> Address:
    """Read what `dump` spelled."""
    held = json.loads(text)
    return Address(held["url"], held["secret"])


def check(address: Address) -> None:
    """Raise ConfigurationError, which says what is wrong with an address."""
    if "://" not in address.url:
        raise ConfigurationError(
            f"{address.url!r} is no address: take https://… for a webhook, or a URL of Apprise "
            "such as mailto://, slack:// or msteams:// (https://appriseit.com/services/)"
        )
    if address.is_webhook:
        if not urlsplit(address.url).hostname:
            raise ConfigurationError("the webhook's address names no host: https://HOST/…")
        if address.secret is not None:
            key_of(address.secret)
        return
    if address.secret is not None:
        raise ConfigurationError("only what goes to a webhook (https://…) is signed")
    # Not before it is needed: it brings a hundred services along.
    from milepost.notifiers.apprise import check_url

    check_url(address.url)


def key_of(secret: str) -> bytes:
    """Read a webhook's secret. Raises ConfigurationError."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not LEAST_OCTETS <= len(key) <= MOST_OCTETS:
        raise ConfigurationError(
            f"a webhook's secret is {SECRET_PREFIX} and {LEAST_OCTETS} to {MOST_OCTETS} octets in "
            "base64; without --secret one is made"
        )
    return key
