"""Where a download goes: a template, of which only the parts are filled in."""

from typing import Any

from sqlalchemy.engine import URL

from milepost.connectors import Secrets
from milepost.store.database import parse_url


def destination(template: str, secrets: Secrets) -> str | URL:
    """Put the values into a path or a database URL.

    Part by part: a password may hold any character, and a URL means some of them otherwise.
    Raises ConfigurationError, or FatalConnectorError that names a variable without value.
    """
    if "://" not in template or template.startswith("$"):
        return secrets.reveal(template)
    url = parse_url(template)
    parts: dict[str, Any] = {
        name: secrets.reveal(part)
        for name in ("username", "password", "host", "database")
        if (part := getattr(url, name)) is not None
    }
    query = {
        name: secrets.reveal(part) if isinstance(part, str) else tuple(map(secrets.reveal, part))
        for name, part in url.query.items()
    }
    return url.set(**parts, query=query)
