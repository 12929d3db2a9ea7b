"""Database URLs as templates, of which only the parts are filled in."""

import re
from typing import Any, Final
from urllib.parse import parse_qsl

from sqlalchemy.engine import URL

from milepost.connectors.secrets import Secrets, references

# As SQLAlchemy reads it; and where a password holds a plain @, up to the last one before a query.
_PASSWORD: Final = re.compile(r"(?<=://)([^:/]*:)([^?]*|[^@]*)@")
_SECRET_OPTIONS: Final = frozenset({"password", "passwd", "sslpassword", "ssl_key_password"})


def split_password(template: str) -> tuple[str, str, str] | None:
    """Take a database URL apart at its password: before, password, after; None without one."""
    found = _PASSWORD.search(template)
    if found is None:
        return None
    return template[: found.start(2)], found[2], template[found.end(2) :]


def plain_password(template: str, what: str) -> str | None:
    """Say what is wrong with a URL that holds a password; None where none is plain."""
    parts = split_password(template)
    if parts is not None and parts[1] and not references(parts[1]):
        return (
            f"{what} holds a password in plain text, and it is stored: put the password into an "
            "environment variable and write user:$NAME@host"
        )
    options = parse_qsl(template.partition("?")[2])
    if "://" in template and any(
        name.lower() in _SECRET_OPTIONS and not references(value) for name, value in options
    ):
        return (
            f"{what} has a password among its options, and is stored: write user:$NAME@host instead"
        )
    return None


def filled_in(url: URL, secrets: Secrets) -> URL:
    """Put the values into a URL.

    Part by part: a password may hold any character, and a URL means some of them otherwise.
    Raises FatalConnectorError that names a variable without value.
    """
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
