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
        """All kinds that run here, sorted."""
        return tuple(sorted(each.kind for each in self if each.runs_here))

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """The kinds that another program's workers run, sorted."""
        return tuple(sorted(each.kind for each in self if not each.runs_here))

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues of the kinds that run here, sorted."""
        return tuple(sorted({each.queue for each in self if each.runs_here}))
