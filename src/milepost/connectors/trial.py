"""Tries a source: what can be said of it from its first pages."""

from collections.abc import Sequence
from contextlib import aclosing

from milepost.connectors.connector import Connector, Report, Table
from milepost.errors import AuthenticationRefused, ConnectorError


async def tried(connector: Connector) -> Report:
    """Ask for the tables, and for the first page of each, until one of them fails."""
    tables: Sequence[Table] = ()
    notes: list[str] = []
    try:
        tables = await connector.tables()
        for table in tables:
            async with aclosing(connector.pages(table.name, after=None)) as pages:
                async for page in pages:
                    total = "" if page.total is None else f" of {page.total:,}"
                    notes.append(f"{table.name}: {len(page.records):,}{total} records on one page")
                    break
    except AuthenticationRefused as error:
        return Report(
            reached=True, authenticated=False, tables=tables, notes=notes, problem=str(error)
        )
    except ConnectorError as error:
        return Report(
            reached=bool(notes), authenticated=bool(notes), tables=tables, notes=notes,
            problem=str(error),
        )  # fmt: skip
    return Report(reached=True, authenticated=True, tables=tables, notes=notes)
