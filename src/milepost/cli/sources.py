"""From what a person typed to args that may be stored: secrets are taken out on the way."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any
from urllib.parse import unquote, unquote_plus

from milepost.connectors.secrets import looks_secret, references
from milepost.errors import ConfigurationError


@dataclass
class Kept:
    """Secrets that were typed in plain. They live as long as the command."""

    values: dict[str, str] = field(default_factory=dict)
    """By the variables that stand for them in what is stored."""
    prefix: str = "MILEPOST_"
    """What the names of these variables begin with."""
    _shown: dict[str, str] = field(default_factory=dict)

    def keep(self, name: str, typed: str, *, decode: Callable[[str], str] = str) -> str:
        """Keep a secret under a variable's name; returns the template to store in its place.

        What refers to a variable already is a template itself. That is seen before decoding:
        `%24` in a URL is a character like any other.
        """
        if not typed or references(typed):
            return typed
        value = decode(typed.replace("$$", "$"))
        stem = self.prefix + re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
        free = chain([stem], (f"{stem}_{number}" for number in count(2)))
        variable = next(name for name in free if self.values.get(name, value) == value)
        self.values[variable] = value
        return f"${variable}"

    def note(self, typed: str, template: str) -> None:
        """Remember how an argument looks with `…` in the place of the secrets it holds."""

        def blanked(match: re.Match[str]) -> str:
            return "…" if match[1] in self.values else match[0]

        shown = re.sub(r"\$(\w+)", blanked, template)
        if shown != template:
            self._shown[typed] = shown

    def note_within(self, typed: str, part: str) -> None:
        """Remember that an argument looks as a part of it does."""
        self._shown[typed] = typed.replace(part, self.shown(part))

    def shown(self, argument: str) -> str:
        """Write an argument of the command for people: only those that held secrets change."""
        option, equals, value = argument.partition("=")
        if option.startswith("--") and value in self._shown:
            return option + equals + self._shown[value]
        return self._shown.get(argument, argument)


def kind_before(typed: str) -> tuple[str, str]:
    """Split `file:https://…` after the kind that it asks for; empty where it asks for none."""
    kind = re.match(r"[a-z]+:(?=https?://|\$)", typed)
    return (kind[0], typed[kind.end() :]) if kind else ("", typed)


def headers_of(typed: list[str], kept: Kept) -> dict[str, str]:
    """Read `Name: value` headers; a scheme such as Bearer stays readable."""
    headers = {}
    for line in typed:
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or not name:
            raise ConfigurationError(f"--header takes 'Name: value', not {_begin(line)}")
        scheme, space, secret = value.partition(" ")
        if space and scheme.lower() in ("bearer", "basic", "token"):
            value = f"{scheme} {kept.keep(f'header {name}', secret.strip())}"
        elif looks_secret(name):
            value = kept.keep(f"header {name}", value)
        headers[name] = value
        kept.note(line, f"{name}: {value}")
    return headers


def params_of(typed: list[str], kept: Kept) -> dict[str, str]:
    """Read `name=value` query parameters."""
    params = {}
    for pair in typed:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"--param takes 'name=value', not {_begin(pair)}")
        params[name] = kept.keep(f"param {name}", value) if looks_secret(name) else value
        kept.note(pair, f"{name}={params[name]}")
    return params


def tables_of(typed: list[str], kept: Kept) -> list[str]:
    """Read tables, whose paths may have a query of their own."""
    return [_without_secret_params(table, "table", kept) for table in typed]


def options_of(typed: list[str], kept: Kept) -> dict[str, Any]:
    """Read `name=value` fields of a source; a value is JSON, or else text."""
    options: dict[str, Any] = {}
    for pair in typed:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"--option takes 'name=value', not {_begin(pair)}")
        try:
            held = json.loads(value)
        except ValueError:
            held = value
        if isinstance(held, dict | list):
            held = _without_secrets(name, held, kept)
            kept.note(pair, f"{name}={json.dumps(held, ensure_ascii=False)}")
        elif looks_secret(name):
            held = kept.keep(f"option {name}", value)
            kept.note(pair, f"{name}={held}")
        options[name.replace("-", "_")] = held
    return options


def _without_secrets(name: str, value: Any, kept: Kept) -> Any:
    """Take the secrets out of a JSON value: `auth={"type": "bearer", "token": "…"}`."""
    match value:
        case dict():
            # The key of an API may be sent under any name.
            secret = "value" if value.get("type") == "api-key" else None
            return {
                key: kept.keep(f"{name} {key}", inner)
                if isinstance(inner, str) and (key == secret or looks_secret(key))
                else _without_secrets(f"{name} {key}", inner, kept)
                for key, inner in value.items()
            }
        case list():
            return [_without_secrets(name, inner, kept) for inner in value]
        case _:
            return value


def basic_auth_of(typed: str | None, kept: Kept) -> str | None:
    """Read `user:password`, or `key:`."""
    if typed is None:
        return None
    user, colon, password = typed.partition(":")
    if not colon:
        raise ConfigurationError("--basic-auth takes 'user:$PASSWORD'")
    template = _login(user, password, kept, decode=str)
    kept.note(typed, template)
    return template


def address_of(typed: str, kept: Kept) -> tuple[str, str | None]:
    """Take the secrets out of an HTTP address; returns `user:password@` as basic authentication."""
    credentials = re.match(r"(https?://)([^/?#]*)@", typed)
    if credentials is None:
        return _without_secret_params(typed, "source", kept), None
    scheme, given = credentials.groups()
    user, _, password = given.partition(":")
    login = _login(user, password, kept, decode=unquote)
    rest = _without_secret_params(typed[credentials.end() :], "source", kept)
    kept.note(typed, f"{scheme}{login}@{rest}")
    return scheme + rest, unquote(login.replace("%24", "$$"))


def database_of(typed: str, kept: Kept, *, what: str) -> str:
    """Take the secrets out of a database URL."""
    if "://" not in typed:
        return typed
    # The password ends as SQLAlchemy has it, or where it holds an @ as everybody else does.
    password = re.match(r"(\w[\w+]*://[^:/@]*:)([^?]*|[^@]*)@", typed)
    template = typed
    if password is not None:
        secret = kept.keep(f"{what} password", password[2], decode=unquote)
        template = f"{password[1]}{secret}{typed[password.end() - 1 :]}"
    template = _without_secret_params(template, what, kept)
    kept.note(typed, template)
    return template


def merged(kept: Kept, environment: Mapping[str, str]) -> dict[str, str]:
    """The values that templates may refer to."""
    return {**environment, **kept.values}


def _login(user: str, password: str, kept: Kept, *, decode: Callable[[str], str]) -> str:
    if password:
        return f"{user}:{kept.keep('basic auth password', password, decode=decode)}"
    # An API key that takes the place of both.
    return f"{kept.keep('basic auth user', user, decode=decode)}:"


def _without_secret_params(url: str, what: str, kept: Kept) -> str:
    def secret(pair: re.Match[str]) -> str:
        name = unquote_plus(pair[1])
        if not looks_secret(name):
            return pair[0]
        return f"{pair[1]}={kept.keep(f'{what} {name}', pair[2], decode=unquote_plus)}"

    address, mark, query = url.partition("?")
    query, hash_, fragment = query.partition("#")
    template = address + mark + re.sub("([^&=]+)=([^&]*)", secret, query) + hash_ + fragment
    kept.note(url, template)
    return template


def _begin(text: str) -> str:
    """Enough of a typed text to recognise it, and no secret at its end."""
    return repr(text if len(text) <= 8 else f"{text[:8]}…")  # noqa: PLR2004
