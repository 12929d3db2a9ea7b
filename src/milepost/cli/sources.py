"""From what a person typed to args that may be stored: secrets are taken out on the way."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from milepost.connectors.secrets import references
from milepost.errors import ConfigurationError


@dataclass
class Kept:
    """Secret values that were typed in plain. They live as long as the command."""

    values: dict[str, str] = field(default_factory=dict)

    def keep(self, name: str, value: str) -> str:
        """Keep a value under a variable's name; returns the template to store in its place.

        What refers to a variable already is a template itself.
        """
        if not value or references(value):
            return value
        variable = "MILEPOST_" + re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
        self.values[variable] = value
        return f"${variable}"

    def masked(self, text: str) -> str:
        """Put `…` in the place of the secrets, to show a command that had them."""
        for value in self.values.values():
            for spelled in (value, quote(value, safe="")):
                text = text.replace(spelled, "…")
        return text


def headers_of(typed: list[str], kept: Kept) -> dict[str, str]:
    """Read `Name: value` headers; a scheme such as Bearer stays readable."""
    headers = {}
    for line in typed:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ConfigurationError(f"--header takes 'Name: value', not {_shown(line)}")
        scheme, space, secret = value.strip().partition(" ")
        if space and scheme.lower() in ("bearer", "basic", "token"):
            headers[name.strip()] = f"{scheme} {kept.keep(f'header {name}', secret.strip())}"
        else:
            headers[name.strip()] = kept.keep(f"header {name}", value.strip())
    return headers


def params_of(typed: list[str], kept: Kept) -> dict[str, str]:
    """Read `name=value` query parameters."""
    params = {}
    for pair in typed:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"--param takes 'name=value', not {_shown(pair)}")
        params[name] = kept.keep(f"param {name}", value)
    return params


def basic_auth_of(typed: str | None, kept: Kept) -> str | None:
    """Read `user:password`."""
    if typed is None:
        return None
    user, colon, password = typed.partition(":")
    if not colon:
        raise ConfigurationError("--basic-auth takes 'user:$PASSWORD'")
    return f"{user}:{kept.keep('basic auth password', password)}"


def without_credentials(address: str, kept: Kept) -> tuple[str, str | None]:
    """Take `user:password@` out of an HTTP address; returns it as basic authentication."""
    if not re.match(r"https?://[^/?#]*@", address):
        return address, None
    scheme, _, rest = address.partition("://")
    credentials, _, rest = rest.partition("@")
    user, _, password = credentials.partition(":")
    return f"{scheme}://{rest}", basic_auth_of(f"{unquote(user)}:{unquote(password)}", kept)


def destination_of(typed: str, kept: Kept) -> str:
    """Take a password out of a database URL."""
    if "://" not in typed:
        return typed
    password = urlsplit(typed).password
    if not password or references(password):
        return typed
    template = kept.keep("into password", unquote(password))
    return typed.replace(f":{password}@", f":{template}@", 1)


def merged(kept: Kept, environment: Mapping[str, str]) -> dict[str, str]:
    """The values that templates may refer to."""
    return {**environment, **kept.values}


def _shown(text: str) -> str:
    """Enough of a typed text to recognise it, and no secret at its end."""
    return repr(text if len(text) <= 8 else f"{text[:8]}…")  # noqa: PLR2004
