"""A stored connection, by its name, as data that may stand in a job's args."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

from pydantic import ConfigDict

from milepost.connectors.fields import CHECKED
from milepost.connectors.kinds import Source, check_source, dump_source
from milepost.connectors.secrets import looks_secret, named_texts, refuse_plain
from milepost.errors import FatalConnectorError

# Where a connection leads and who asks. Whoever may name a connection must not be able to send its
# credentials elsewhere.
FIXED: Final = frozenset(
    ("kind", "url", "path", "dsn", "database", "host", "server", "port", "endpoint", "account",
     "auth", "basic_auth", "credentials", "user", "username", "password", "storage_options",
     # What runs, and with what: of a tap, and of a dlt source.
     "tap", "config", "venv", "package", "environment", "catalog", "source", "arguments")
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionSource:
    """A source that the store knows by a name, with its credentials."""

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    name: str
    kind: Literal["connection"] = "connection"
    tables: tuple[str, ...] = ()
    """Those to read, by name. Empty: all."""
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of the stored source that are otherwise this time; objects are merged."""

    def __post_init__(self) -> None:
        """Refuse another place, other credentials, and secrets that stand in plain text."""
        fixed = sorted(FIXED & set(self.options))
        if fixed:
            raise ValueError(
                f"{', '.join(fixed)} of a connection stays as it is stored: change it with "
                "`milepost connections add --replace`"
            )
        for name, text in named_texts("", self.options):
            if looks_secret(name):
                refuse_plain(name, text)

    def resolved(self, stored: Source) -> Source:
        """The source behind the name. Raises FatalConnectorError that names each wrong field."""
        fields = dump_source(stored)
        try:
            return check_source({**fields, **_merged(fields, self.options)})
        except FatalConnectorError as error:
            raise FatalConnectorError(f"the connection {self.name!r}: {error}") from None


def _merged(fields: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {**fields[name], **value}
        if isinstance(value, dict) and isinstance(fields.get(name), dict)
        else value
        for name, value in options.items()
    }
