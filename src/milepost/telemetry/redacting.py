"""Takes secrets out of what goes into the log."""

import re
from collections.abc import Mapping
from typing import Any, Final

from milepost.connectors.secrets import Secrets, hide_revealed, looks_secret

# Shorter ones are words that stand in every other line.
SHORTEST: Final = 6
HIDDEN: Final = "***"
_KEYS: Final = "MILEPOST_SECRET_KEY"
_URL_PASSWORD: Final = re.compile(r"([A-Za-z][\w+.-]*://[^\s:/@]*):[^\s@/]+@")
_TOKEN: Final = re.compile(r"\bmilepost_[\w-]{40,}|(?<=\bBearer )[\w.~+/=-]{8,}", re.ASCII)


class Redactor:
    """Hides the secrets of the environment, revealed ones, passwords in URLs, and tokens."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        own = {
            name: value
            for name, value in environment.items()
            if looks_secret(name) and len(value) >= SHORTEST
        }
        keys = environment.get(_KEYS, "").split(",")
        own |= {f"{_KEYS}_{number}": key.strip() for number, key in enumerate(keys) if key.strip()}
        self._secrets = Secrets(own)
        for name in own:
            if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
                self._secrets.reveal(f"${name}")

    def text(self, text: str) -> str:
        """The text without secrets."""
        text = hide_revealed(text)
        text = _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", text)
        return _TOKEN.sub(HIDDEN, text)

    def fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Fields without secrets, and without the values of those that are named like one."""
        return {name: self._value(name, value) for name, value in fields.items()}

    def _value(self, name: str, value: Any) -> Any:
        if looks_secret(name):
            return HIDDEN
        match value:
            case str():
                return self.text(value)
            case bool() | int() | float() | None:
                return value
            case dict():
                return self.fields({str(inner): each for inner, each in value.items()})
            case list() | tuple() | set() | frozenset():
                return [self._value("", each) for each in value]
            case _:
                return self.text(str(value))
