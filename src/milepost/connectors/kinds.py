"""The kinds of sources: how each is described, named by a person, checked and opened."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated, Any, Final, Protocol

from pydantic import PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from milepost.connectors.budgets import Budgets, OwnBudgets
from milepost.connectors.connector import Connector, OnLog, OnWait, Sleep
from milepost.connectors.secrets import Secrets
from milepost.connectors.tokens import OwnTokens, Tokens
from milepost.errors import FatalConnectorError

# In the order in which they are asked whether an address is theirs.
BUILT_IN: Final = ("connection", "http", "sql", "singer", "airbyte", "dlt", "file")
GROUP: Final = "milepost.connectors"


class Source(Protocol):
    """What a connector reads, as data that may stand in a job's args: templates, never secrets.

    Each kind has a frozen dataclass of its own, whose `kind` says which it is.
    """

    @property
    def kind(self) -> str:
        """The name of its kind."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a connector is opened with.

    `on_wait` is told why and how long it waits, `on_log` what the source says of its own work.
    """

    secrets: Secrets
    on_wait: OnWait | None = None
    on_log: OnLog | None = None
    sleep: Sleep = asyncio.sleep
    budgets: Budgets = field(default_factory=OwnBudgets)
    tokens: Tokens = field(default_factory=OwnTokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of source. Another package adds its own by an entry point of `milepost.connectors`.

    `source` is the class that describes one; pydantic checks it. `describe` turns what a person
    names it by, and the tables he asks for, into its fields; None where the address is of another
    kind. `open` opens the connector; nothing is asked or read yet. `options_into` names the field
    that holds the options, where they are not fields themselves.
    """

    name: str
    source: type[Any]
    describe: Callable[[str, Sequence[str]], Mapping[str, Any] | None]
    open: Callable[[Any, Access], Connector]
    options_into: str | None = None

    def fields(self) -> list[str]:
        """Name the fields that a description may have."""
        return [each.name for each in fields(self.source) if each.name != "kind"]


def kind_names() -> list[str]:
    """Name all kinds, in the order in which they are asked whether an address is theirs."""
    return [*sorted(_others()), *BUILT_IN]


@cache
def kind_of(name: str) -> Kind:
    """Find a kind by its name. Raises FatalConnectorError that names those there are."""
    if name in BUILT_IN:
        folder = "files" if name == "file" else name
        return _as_kind(import_module(f"milepost.connectors.{folder}.kind").KIND, name)
    found = _others().get(name)
    if found is None:
        known = ", ".join(sorted(kind_names()))
        raise FatalConnectorError(f"no source is of kind {name!r}; there are: {known}")
    return _as_kind(found.load(), name)


def source_from(
    address: str, *, tables: Sequence[str] | Mapping[str, Any] = (), **options: Any
) -> Source:
    """Describe the source that a person names by a URL, a path or the like.

    `tables` are as a person names them, or described as the source has them. `options` are fields
    of the source. Raises FatalConnectorError that names each wrong field.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(tables, Mapping):
        given["tables"], tables = tables, ()
    for name in kind_names():
        kind = kind_of(name)
        described = kind.describe(address, tables)
        if described is not None:
            options = {kind.options_into: given} if kind.options_into else given
            return check_source({**described, **options, "kind": name})
    raise FatalConnectorError(f"{address} is no source of any kind: {', '.join(kind_names())}")


def check_source(source: Source | Mapping[str, Any]) -> Source:
    """Check a source that came as JSON or was made in code.

    Raises FatalConnectorError that names each wrong field.
    """
    name = source.get("kind") if isinstance(source, Mapping) else getattr(source, "kind", None)
    if not isinstance(name, str):
        raise FatalConnectorError(
            f"the source does not say its kind, which is one of {', '.join(sorted(kind_names()))}"
        )
    try:
        checked: Source = _adapter(name).validate_python(source)
    except ValidationError as error:
        # The inputs are left out: they may hold what was meant for a secret.
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        lines = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in wrong]
        shown = "; ".join(line.removeprefix(": ") for line in lines)
        raise FatalConnectorError(f"the source is not described well: {shown}") from None
    return checked


def dump_source(source: Source) -> dict[str, Any]:
    """Turn a source into what JSON can hold."""
    dumped: dict[str, Any] = _adapter(source.kind).dump_python(source, mode="json")
    return dumped


def schema_of(name: str) -> dict[str, Any]:
    """The JSON Schema of a kind's sources. Raises FatalConnectorError for a kind that is none."""
    made = _adapter(name).json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": f"A source of kind {name} for milepost",
    }


def open_connector(source: Source, access: Access) -> Connector:
    """Open a source; nothing is asked or read yet.

    Raises FatalConnectorError for a source that is described badly or lacks a secret.
    """
    checked = check_source(source)
    return kind_of(checked.kind).open(checked, access)


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(kind_of(name).source)


@cache
def _others() -> dict[str, Any]:
    return {each.name: each for each in entry_points(group=GROUP)}


def _as_kind(found: object, name: str) -> Kind:
    if not isinstance(found, Kind) or found.name != name:
        raise FatalConnectorError(
            f"the entry point {name!r} of {GROUP} must be a Kind of that name, not {found!r}"
        )
    return found


def _checked(source: Any) -> Source:
    try:
        return check_source(source)
    except FatalConnectorError as error:
        # As pydantic wants it from a validator.
        raise ValueError(str(error)) from None


AnySource = Annotated[Source, PlainValidator(_checked), PlainSerializer(dump_source)]
"""A source as a field of args: checked by its kind, which may come from another package."""
