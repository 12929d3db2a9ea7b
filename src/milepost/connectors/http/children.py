"""Reads tables whose records belong to those of another: inside of them, or behind each."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from milepost.connectors.connector import Cursor, Page, Record
from milepost.connectors.http.ahead import ReadAhead
from milepost.connectors.http.positions import Start
from milepost.connectors.http.source import HttpTable
from milepost.connectors.http.walk import Walk
from milepost.errors import FatalConnectorError, NothingThere

# Most parents have few children. So many requests, or records, make a page.
REQUESTS_IN_A_PAGE: Final = 20
RECORDS_IN_A_PAGE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCursor:
    """Where a walk over parents stands: a page of theirs, who on it was read, and how far one is.

    `page` is the cursor that asks for the page again, and `parents` counts those before it. `told`
    is the sum of what the lists so far told to hold, None where one told nothing. `read` are the
    keys of the parents on the page that have no more children, since it may come back in another
    order; `parent` is the key of the one in the middle, and `child` the cursor among its children.
    """

    page: Any = None
    parents: int = 0
    told: int | None = 0
    read: list[list[Any]] = field(default_factory=list)
    parent: list[Any] | None = None
    child: Any = None
    ended: bool = False


_CURSOR = TypeAdapter(ChildCursor)


async def children_inside(parents: Walk, table: HttpTable, after: Cursor) -> AsyncGenerator[Page]:
    """Read the records in a field of each parent."""
    place = _read(after)
    async with aclosing(parents.pages(place.page)) as pages:
        async for page in pages:
            records = [
                _with_parent(child, parent, table)
                for parent in page.records
                for child in _inside(parent, table)
            ]
            count = place.parents + len(page.records)
            place = ChildCursor(page=page.cursor, parents=count)
            skipped = _missing_of(page, count, table)
            yield replace(page, records=records, cursor=asdict(place), total=None, skipped=skipped)


async def children_of(
    parents: Walk,
    table: HttpTable,
    walk: Callable[[Record], Walk],
    ahead: ReadAhead,
    after: Cursor,
) -> AsyncGenerator[Page]:
    """Ask for the children of each parent, one parent after the other."""
    place = _read(after)
    skipped: Sequence[str] = ()
    if not place.ended:
        async with aclosing(parents.pages(place.page)) as pages:
            async for page in pages:
                async with aclosing(_of_page(page, place, table, walk, ahead)) as found:
                    async for children in found:
                        place = _read(children.cursor)
                        yield children
                count = place.parents + len(page.records)
                place = ChildCursor(page=page.cursor, parents=count, told=place.told)
                if page.last:
                    skipped = _missing_of(page, count, table)
                    break
    ended = asdict(ChildCursor(ended=True, told=place.told))
    yield Page((), ended, last=True, total=place.told, skipped=skipped)


async def _of_page(
    parents: Page,
    place: ChildCursor,
    table: HttpTable,
    walk: Callable[[Record], Walk],
    ahead: ReadAhead,
) -> AsyncGenerator[Page]:
    here = place
    gathered: list[Record] = []
    skipped: list[str] = []
    asked, counted = 0, parents.counted
    left = [each for each in parents.records if _key(each, table) not in place.read]
    for index, parent in enumerate(left):
        key = _key(parent, table)
        child = place.child if key == place.parent else None
        ahead.expect(walk(each).request(Start()) for each in left[index + 1 :])
        async with aclosing(_pages_of(walk(parent), child, skipped)) as pages:
            async for page in pages:
                asked += 1
                counted = counted or page.counted
                gathered += [_with_parent(record, parent, table) for record in page.records]
                if page.last:
                    told = _sum(here.told, page.total)
                    here = replace(here, read=[*here.read, key], parent=None, child=None, told=told)
                else:
                    here = replace(here, parent=key, child=page.cursor)
                if asked >= REQUESTS_IN_A_PAGE or len(gathered) >= RECORDS_IN_A_PAGE:
                    yield Page(gathered, asdict(here), counted=counted, skipped=tuple(skipped))
                    gathered, asked = [], 0
                    # The generator of the next page goes on with this list.
                    skipped.clear()
    if asked:
        yield Page(gathered, asdict(here), counted=counted, skipped=tuple(skipped))


async def _pages_of(walk: Walk, after: Cursor, skipped: list[str]) -> AsyncGenerator[Page]:
    try:
        async with aclosing(walk.pages(after)) as pages:
            async for page in pages:
                yield page
    except NothingThere as error:
        # The parent went meanwhile, or never had such a list.
        skipped.append(str(error))
        yield Page((), None, last=True)


def _sum(told: int | None, total: int | None) -> int | None:
    return None if told is None or total is None else told + total


def _missing_of(page: Page, count: int, table: HttpTable) -> Sequence[str]:
    """Say at the last page of parents that some of them did not come, and so none of theirs."""
    if not page.last or page.total is None or count >= page.total:
        return ()
    said = f"the source told of {page.total:,} records of {table.parent!r} and gave {count:,}"
    return [f"{said}, so what belongs to the others"]


def _key(parent: Record, table: HttpTable) -> list[Any]:
    return [_field(parent, name, table) for name in table.parent_fields]


def _field(parent: Record, name: str, table: HttpTable) -> Any:
    if name not in parent:
        raise FatalConnectorError(
            f"a record of {table.parent!r} has no field {name!r}; it has "
            f"{', '.join(list(parent)[:12])}: mend parent_fields"
        )
    return parent[name]


def _with_parent(child: Mapping[str, Any], parent: Record, table: HttpTable) -> Record:
    own = {f"{table.parent}_{name}": _field(parent, name, table) for name in table.parent_fields}
    return {**child, **own}


def _inside(parent: Record, table: HttpTable) -> Sequence[Record]:
    found: Any = parent
    for key in (table.inside or "").split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    if found is None:
        return ()
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise FatalConnectorError(
            f"{table.inside!r} of a record of {table.parent!r} holds no objects, so no records"
        )
    return found


def _read(after: Cursor) -> ChildCursor:
    if after is None:
        return ChildCursor()
    try:
        return _CURSOR.validate_python(after)
    except ValidationError:
        raise FatalConnectorError(
            "the checkpoint holds no cursor of a table with a parent: was the job's source "
            "changed? Submit a new job, which begins at the start"
        ) from None
