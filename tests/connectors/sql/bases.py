"""A database as a test writes it, and as a connector reads it."""

import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, NullPool, create_engine

from milepost.connectors import (
    Access,
    Connector,
    Cursor,
    Page,
    Secrets,
    open_connector,
    source_from,
)
from milepost.connectors.sql.addresses import parse_address

KINDS = ["postgres", "mariadb", "sqlite"]


@dataclass
class Base:
    """An empty database of one kind."""

    kind: str
    url: str
    """What a source is described by."""
    values: dict[str, str] = field(default_factory=dict)
    """The secrets behind its `$NAME`s."""
    owner_url: str = ""

    def __post_init__(self) -> None:
        url = parse_address(self.owner_url or self.url)
        self.engine: Engine = create_engine(url, poolclass=NullPool)
        if self.kind == "sqlite":
            sqlite3.connect(str(url.database)).close()
            Path(str(url.database)).touch()

    def run(self, *statements: str) -> None:
        with self.engine.begin() as conn:
            for statement in statements:
                conn.exec_driver_sql(statement)

    def insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Insert rows that have all the same columns."""
        if not rows:
            return
        mark = "?" if self.kind == "sqlite" else "%s"
        columns = ", ".join(rows[0])
        marks = ", ".join(mark for _ in rows[0])
        statement = f"INSERT INTO {table} ({columns}) VALUES ({marks})"
        with self.engine.begin() as conn:
            for row in rows:
                conn.exec_driver_sql(statement, tuple(row.values()))

    @asynccontextmanager
    async def opened(self, **options: Any) -> AsyncIterator[Connector]:
        connector = open_connector(
            source_from(self.url, **options), Access(secrets=Secrets(self.values))
        )
        try:
            yield connector
        finally:
            await connector.aclose()

    async def pages(self, table: str, after: Cursor = None, **options: Any) -> list[Page]:
        async with self.opened(**options) as connector:
            return [page async for page in connector.pages(table, after=after)]

    async def records(self, table: str, after: Cursor = None, **options: Any) -> list[Any]:
        return records_of(await self.pages(table, after, **options))

    async def stopping(self, table: str, after: Cursor = None, **options: Any) -> list[Page]:
        """Read all pages, with a stop after each of them."""
        pages: list[Page] = []
        async with self.opened(**options) as connector:
            while not pages or not pages[-1].last:
                async with aclosing(connector.pages(table, after=after)) as walk:
                    pages.append(await anext(walk))
                # As the store keeps it.
                after = json.loads(json.dumps(pages[-1].cursor))
        return pages


def records_of(pages: list[Page]) -> list[Mapping[str, Any]]:
    return [record for page in pages for record in page.records]
