"""Where a download goes: a template, of which only the parts are filled in."""

import re
from typing import Any, Final
from urllib.parse import parse_qsl

from sqlalchemy.engine import URL

from milepost.connectors import Secrets
from milepost.connectors.secrets import references
from milepost.database_urls import parse_url

# As SQLAlchemy reads it; and where a password holds a plain @, up to the last one before a query.
_PASSWORD: Final = re.compile(r"(?<=://)([^:/]*:)([^?]*|[^@]*)@")


def split_password(template: str) -> tuple[str, str, str] | None:
    """Take a database URL apart at its password: before, password, after; None without one."""
    found = _PASSWORD.search(template)
    if found is None:
        return None
    return template[: found.start(2)], found[2], template[found.end(2) :]


def plain_password(template: str) -> str | None:
    """Say what is wrong with a destination that holds a password; None where none is plain."""
    parts = split_password(template)
    if parts is not None and parts[1] and not references(parts[1]):
        return (
            "into holds a password in plain text, and it is stored: put the password into an "
            "environment variable and write user:$NAME@host"
        )
    options = parse_qsl(template.partition("?")[2])
    if "://" in template and any(
        name.lower() in {"password", "sslpassword"} for name, _ in options
    ):
        return "into has a password among its options, and is stored: write user:$NAME@host instead"
    return None


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
