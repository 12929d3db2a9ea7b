"""The values behind `$NAME`: given to the source, and to nobody else."""

import base64
import json
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, unquote_plus
from weakref import WeakSet

from milepost.errors import FatalConnectorError

_REFERENCE = re.compile(r"\$(?:(\$)|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")

# Of a name's letters: `X-Api-Key` is xapikey. A token that is a position in a list is none.
_SECRET_NAME = re.compile(
    "(?!.*(page|next|cursor|continuation|skip|start|resume|sync)token)"
    "(.*(authori[sz]ation|cookie|credentials?|password|passwd|passphrase|secret|signature|token)"
    "|.*(access|account|api|app|application|auth|functions|license|master|private|subscription)key"
    "|x?auth|jwt|key|pass|pwd|sig)"
)

# "1" or "eu" guards nothing, and hiding it would turn "page=1" into "page=$REGION".
_SHORTEST_HIDDEN = 4


def references(template: str) -> tuple[str, ...]:
    """Name the variables that a template refers to."""
    found = (match[2] or match[3] for match in _REFERENCE.finditer(template))
    return tuple(name for name in found if name)


def looks_secret(name: str) -> bool:
    """Whether a header or parameter of this name holds what nobody may see."""
    return _SECRET_NAME.fullmatch(re.sub(r"[^a-z]", "", name.lower())) is not None


def check_query(url: str) -> None:
    """Refuse parameters of a URL that hold a secret in plain text. Raises ValueError."""
    # As it is written, not decoded: `%24NAME` refers to nothing.
    for pair in url.partition("?")[2].partition("#")[0].split("&"):
        name, _, template = pair.partition("=")
        if looks_secret(unquote_plus(name)):
            refuse_plain(unquote_plus(name), template)


def refuse_plain(name: str, template: str) -> None:
    """Refuse what holds a secret and refers to no variable. Raises ValueError."""
    if template and not references(template):
        raise ValueError(
            f"{name} holds a secret in plain text, and a source is stored: "
            "put it into an environment variable and write $NAME here"
        )


def named_texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the texts in a JSON value, each with the name of the field that holds it."""
    match value:
        case str():
            yield name, value
        case dict():
            for key, inner in value.items():
                yield from named_texts(key, inner)
        case list() | tuple():
            for inner in value:
                yield from named_texts(name, inner)


class Secrets:
    """Expands templates, and takes what it expanded out of any text again.

    `values` are usually the environment and what was given for this run only. A template is
    what may be stored: `Bearer $SHOP_TOKEN`, `${USER}:$PASSWORD`, `$$` for a dollar sign.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._names: dict[str, str] = {}
        self._encoded: dict[str, str] = {}
        self._shown: _Hiding | None = None
        self._stored: _Hiding | None = None

    def __repr__(self) -> str:
        return f"Secrets(revealed: {', '.join(sorted(set(self._names.values()))) or 'none'})"

    def with_values(self, values: Mapping[str, str]) -> "Secrets":
        """Give these values too, before others of the same names; `self` stays as it is."""
        return Secrets({**self._values, **values})

    def reveal(self, template: str, *, in_url: bool = False) -> str:
        """Put the values in; with `in_url` they are percent-encoded, slashes excepted.

        Raises FatalConnectorError that names a variable without value.
        """

        def value_of(match: re.Match[str]) -> str:
            if match[1]:
                return "$"
            value = self._value(match[2] or match[3])
            return quote(value, safe="/", errors="surrogateescape") if in_url else value

        return _REFERENCE.sub(value_of, template)

    def reveal_url(self, template: str) -> str:
        """Put the values into a URL: a value at its beginning is a URL, others are a part of one.

        Raises FatalConnectorError that names a variable without value.
        """
        leading = _REFERENCE.match(template)
        cut = leading.end() if leading else 0
        return self.reveal(template[:cut]) + self.reveal(template[cut:], in_url=True)

    def basic_auth(self, template: str) -> str:
        """Make the Authorization header of `user:password`; its base64 is hidden as well."""
        plain = self.reveal(template)
        encoded = base64.b64encode(plain.encode("utf-8", "surrogateescape")).decode("ascii")
        self._encoded[encoded] = (references(template) or ("BASIC_AUTH",))[-1]
        self._shown = None
        return f"Basic {encoded}"

    def conceal(self, text: str, template: str) -> None:
        """Hide a text that holds a value too short to be hidden wherever it stands."""
        named = references(template)
        if named:
            self._encoded[text] = named[-1]
            self._shown = None

    def hide(self, text: str) -> str:
        """Put `$NAME` where a revealed value stands, for whatever is shown."""
        shown = self._shown
        if shown is None:
            shown = self._shown = _Hiding({**self._names, **self._encoded})
        return shown.replace(text, "${}", dollar="$")

    def seal(self, text: str) -> str:
        """Turn text into a template that `reveal` turns back, for whatever is stored."""
        if self._stored is None:
            self._stored = _Hiding(self._names)
        return self._stored.replace(text, "${{{}}}", dollar="$$")

    def _note(self) -> None:
        with _noting:
            _revealing.add(self)

    def _value(self, name: str) -> str:
        value = self._values.get(name)
        if not value:
            raise FatalConnectorError(
                f"${name} has no value: set the environment variable {name} where the job runs "
                "(for a plain dollar sign write $$)"
            )
        if len(value) >= _SHORTEST_HIDDEN and value not in self._names:
            self._names[value] = name
            self._shown = self._stored = None
            self._note()
        return value


# Those that have revealed something and are still in use.
_revealing: Final[WeakSet[Secrets]] = WeakSet()
_noting: Final = threading.Lock()


def hide_revealed(text: str) -> str:
    """Hide whatever is revealed anywhere in this process: for its log, which all write to."""
    with _noting:
        revealing = list(_revealing)
    for each in revealing:
        text = each.hide(text)
    return text


class _Hiding:
    """Finds values in any text, whichever way they are spelled there."""

    def __init__(self, names: Mapping[str, str]) -> None:
        # A secret that contains another must go first, or its rest stays readable.
        self._pairs = sorted(names.items(), key=lambda pair: len(pair[0]), reverse=True)
        groups = [
            f"(?P<s{index}>{''.join(map(_spellings, value))})"
            for index, (value, _) in enumerate(self._pairs)
        ]
        self._pattern = re.compile("|".join([*groups, r"(?P<dollar>\$)"]))

    def replace(self, text: str, template: str, *, dollar: str) -> str:
        """Put the template with a value's name where the value stands."""

        def named(match: re.Match[str]) -> str:
            group = match.lastgroup or "dollar"
            return dollar if group == "dollar" else template.format(self._pairs[int(group[1:])][1])

        return self._pattern.sub(named, text)


def _spellings(char: str) -> str:
    """Match a character as it stands in text, in a URL or in JSON.

    Each encoder leaves other characters alone, so every character is matched by itself.
    """
    octets = char.encode("utf-8", "surrogateescape")
    spelled = [re.escape(char), "(?i:" + "".join(f"%{octet:02X}" for octet in octets) + ")"]
    if char == " ":
        spelled.append(r"\+")
    escaped = json.dumps(char)[1:-1]
    if escaped != char:
        spelled.append(f"(?i:{re.escape(escaped)})")
    return f"(?:{'|'.join(spelled)})"
