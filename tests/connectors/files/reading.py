"""Reads a source of files as a download does."""

import json
from contextlib import aclosing
from typing import Any

from milepost.connectors import Access, Connector, Page, Secrets, open_connector, source_from


def opened(address: object, *, env: dict[str, str] | None = None, **options: Any) -> Connector:
    """Open a connector that does not sleep between its tries."""

    async def sleep(_: float) -> None:
        return

    source = source_from(str(address), **options)
    return open_connector(source, Access(secrets=Secrets(env or {}), sleep=sleep))


async def pages(
    address: object, after: Any = None, *, most: int | None = None, **options: Any
) -> list[Page]:
    """Read the only table after a cursor, up to so many pages."""
    connector = opened(address, **options)
    try:
        [table] = await connector.tables()
        read: list[Page] = []
        async with aclosing(connector.pages(table.name, after=after)) as walk:
            async for page in walk:
                read.append(page)
                if len(read) == most:
                    break
        return read
    finally:
        await connector.aclose()


async def records(address: object, after: Any = None, **options: Any) -> list[dict[str, Any]]:
    return [
        dict(record) for page in await pages(address, after, **options) for record in page.records
    ]


async def assert_resumes(address: object, **options: Any) -> list[dict[str, Any]]:
    """Read it all, and from each page on again; returns the records."""
    read = await pages(address, **options)
    assert [page.last for page in read] == [False] * (len(read) - 1) + [True]
    for done, page in enumerate(read[:-1], 1):
        rest = await pages(address, stored(page), **options)
        wanted = [record for each in read[done:] for record in each.records]
        assert [record for each in rest for record in each.records] == wanted
    return [dict(record) for page in read for record in page.records]


def stored(page: Page) -> Any:
    """Take the cursor of a page as the store keeps it."""
    return json.loads(json.dumps(page.cursor))
