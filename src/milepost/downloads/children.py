"""Tables made of the lists inside of another table's records, whatever kind their source is."""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from milepost.connectors import Connector, Cursor, Page, Record, Report, Table
from milepost.errors import FatalConnectorError

PLACE: Final = "_place"
VALUE: Final = "value"
USUAL_KEY: Final = ("id",)


@dataclass(frozen=True, kw_only=True)
class Child:
    """A table of the elements of a list in a field of each record of `parent`.

    `field` may lead on inside: `address.phones`. What stands there is a list, an object or null, or
    the same as JSON text. An element that is no object becomes one, with the field `value`.
    """

    parent: str
    field: str
    parent_fields: tuple[str, ...] = ()
    """What each element has of its parent, as `orders_id`. Empty: the parent's key, else `id`."""
    key: tuple[str, ...] = ()
    """Empty: the parent's fields, and the place in the list, which each then has as `_place`."""


class WithChildren:
    """A connector whose source also has the tables that are inside of others."""

    def __init__(self, connector: Connector, children: Mapping[str, Child]) -> None:
        self._connector = connector
        self._children = children
        self._keys: dict[str, tuple[str, ...]] = {}

    async def tables(self) -> Sequence[Table]:
        """Name those of the source, and the children behind them.

        Raises FatalConnectorError for a child of a table that the source does not have.
        """
        own = list(await self._connector.tables())
        self._keys = {table.name: table.key for table in own}
        for name, child in self._children.items():
            if child.parent not in self._keys or name in self._keys:
                wrong = "is there already" if name in self._keys else f"is of {child.parent!r}"
                raise FatalConnectorError(
                    f"the child table {name!r} {wrong}; the source has: {', '.join(self._keys)}"
                )
        return [*own, *(Table(name, self._reader(name).key) for name in self._children)]

    def pages(self, table: str, *, after: Cursor) -> AsyncGenerator[Page]:
        """Read the pages of a table; of a child those of its parent, with what is inside."""
        if table not in self._children:
            return self._connector.pages(table, after=after)
        return self._inside(table, after)

    async def test(self) -> Report:
        """Try the source."""
        return await self._connector.test()

    async def aclose(self) -> None:
        """Close what is open."""
        await self._connector.aclose()

    def _reader(self, name: str) -> "_Reader":
        child = self._children[name]
        own = child.parent_fields or self._keys.get(child.parent, ()) or USUAL_KEY
        return _Reader(name, replace(child, parent_fields=own))

    async def _inside(self, table: str, after: Cursor) -> AsyncGenerator[Page]:
        if not self._keys:
            await self.tables()
        reader = self._reader(table)
        parents = self._connector.pages(self._children[table].parent, after=after)
        async with aclosing(parents) as pages:
            async for page in pages:
                yield reader.page(page)


class _Reader:
    """Finds the records of one child table in those of its parent."""

    def __init__(self, name: str, child: Child) -> None:
        self._name = name
        self._child = child
        self._own = {field: f"{child.parent}_{field}" for field in child.parent_fields}
        self.key = child.key or (*self._own.values(), PLACE)

    def page(self, parents: Page) -> Page:
        """Turn a page of parents into one of what is inside of them."""
        skipped = list(parents.skipped)
        records = [record for each in parents.records for record in self._of(each, skipped)]
        # There is no bookmark: of a parent that is read because it has changed nobody would know
        # which elements it no longer has. Nor does anybody know how many there will be.
        return replace(parents, records=records, total=None, bookmark=None, skipped=tuple(skipped))

    def _of(self, parent: Record, skipped: list[str]) -> Iterator[Record]:
        own = {name: self._field(parent, field) for field, name in self._own.items()}
        try:
            elements = _elements(parent, self._child.field)
        except ValueError:
            told = ", ".join(f"{name} {value!r}" for name, value in own.items())
            skipped.append(f"what is in {self._child.field!r}, which is no list ({told})")
            return
        for place, element in enumerate(elements):
            record = dict(element) if isinstance(element, Mapping) else {VALUE: element}
            added = own if self._child.key else {**own, PLACE: place}
            if taken := record.keys() & added.keys():
                raise FatalConnectorError(
                    f"the records of the child table {self._name!r} have a field "
                    f"{min(taken)!r} of their own: name the table's parent_fields and key"
                )
            yield {**record, **added}

    def _field(self, parent: Record, field: str) -> Any:
        if field not in parent:
            raise FatalConnectorError(
                f"a record of {self._child.parent!r} has no field {field!r}; it has "
                f"{', '.join(list(parent)[:12])}: name the parent_fields of {self._name!r}"
            )
        return parent[field]


def _elements(parent: Record, dotted: str) -> Sequence[Any]:
    """Find the list. Raises ValueError where something else is in its place."""
    found: Any = parent
    for name in [dotted] if dotted in parent else dotted.split("."):
        found = _decoded(found)
        found = found.get(name) if isinstance(found, Mapping) else None
    found = _decoded(found)
    if found is None:
        return ()
    if isinstance(found, Mapping):
        return (found,)
    if not isinstance(found, list | tuple):
        raise ValueError(dotted)  # noqa: TRY004 (text that is no JSON raises it too)
    return found


def _decoded(value: Any) -> Any:
    """Read JSON that a source without such a type has as text."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise ValueError(value) from error
