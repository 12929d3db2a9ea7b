"""Templates inside a source's JSON: where secrets may stand, and how they are filled in."""

from collections.abc import Mapping
from typing import Any

from milepost.connectors.secrets import Secrets, looks_secret, references


def refuse_plain(value: Any, *, where: str) -> None:
    """Look through JSON for secrets in plain text under names that say so.

    Raises ValueError that names the place of the first one.
    """
    _walk(value, where, secret=False)


def fill(value: Any, secrets: Secrets) -> Any:
    """Put the values behind `$NAME` into every text of a JSON value.

    Raises FatalConnectorError that names a variable without value.
    """
    match value:
        case str():
            return secrets.reveal(value)
        case Mapping():
            return {name: fill(each, secrets) for name, each in value.items()}
        case list() | tuple():
            return [fill(each, secrets) for each in value]
        case _:
            return value


def seal(value: Any, secrets: Secrets) -> Any:
    """Turn every text of a JSON value into a template that `fill` turns back."""
    match value:
        case str():
            return secrets.seal(value)
        case Mapping():
            return {name: seal(each, secrets) for name, each in value.items()}
        case list() | tuple():
            return [seal(each, secrets) for each in value]
        case _:
            return value


def _walk(value: Any, where: str, *, secret: bool) -> None:
    match value:
        case Mapping():
            # Under `auth` or `credentials` each name speaks for itself: `type` is no secret.
            for name, each in value.items():
                _walk(each, f"{where}.{name}", secret=looks_secret(str(name)))
        case list() | tuple():
            for index, each in enumerate(value):
                _walk(each, f"{where}.{index}", secret=secret)
        case str() if secret and value and not references(value):
            raise ValueError(
                f"{where} holds a secret in plain text, and a source is stored: "
                "put it into an environment variable and write $NAME here"
            )
        case _:
            return
