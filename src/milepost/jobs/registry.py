"""The definitions that a program knows, by kind."""

from collections.abc import Iterable, Iterator
from typing import Any

from milepost.errors import DefinitionInvalid, UnknownKind
from milepost.jobs.definition import JobDefinition

AnyDefinition = JobDefinition[Any, Any, Any]


class Registry:
    """An immutable set of definitions; no two share a kind."""

    def __init__(self, definitions: Iterable[AnyDefinition]) -> None:
        self._by_kind: dict[str, AnyDefinition] = {}
        for definition in definitions:
            if self._by_kind.setdefault(definition.kind, definition) is not definition:
                raise DefinitionInvalid(f"two definitions have the kind {definition.kind!r}")

    def __iter__(self) -> Iterator[AnyDefinition]:
        return iter(self._by_kind.values())

    def __contains__(self, kind: str) -> bool:
        return kind in self._by_kind

    def __getitem__(self, kind: str) -> AnyDefinition:
        """Find a definition. Raises UnknownKind."""
        try:
            return self._by_kind[kind]
        except KeyError:
            raise UnknownKind(kind, list(self._by_kind)) from None

    @property
    def kinds(self) -> tuple[str, ...]:
        """All kinds, sorted."""
        return tuple(sorted(self._by_kind))

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that the definitions name, sorted."""
        return tuple(sorted({definition.queue for definition in self._by_kind.values()}))
