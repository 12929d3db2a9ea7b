"""Some of a source's tables."""

from collections.abc import AsyncGenerator, Sequence

from milepost.connectors.connector import Connector, Cursor, Page, Report, Table
from milepost.errors import FatalConnectorError


class Chosen:
    """A connector that offers only the tables that somebody chose."""

    def __init__(self, connector: Connector, names: Sequence[str]) -> None:
        self._connector = connector
        self._names = names

    async def tables(self) -> Sequence[Table]:
        """Say which tables were chosen. Raises FatalConnectorError for one that there is not."""
        offered = {table.name: table for table in await self._connector.tables()}
        unknown = [name for name in self._names if name not in offered]
        if unknown:
            raise FatalConnectorError(
                f"the connection has no table {', '.join(map(repr, unknown))}; "
                f"it has: {', '.join(offered) or 'none'}"
            )
        return [offered[name] for name in self._names]

    def pages(self, table: str, *, after: Cursor) -> AsyncGenerator[Page]:
        """Read the pages after a cursor."""
        return self._connector.pages(table, after=after)

    async def test(self) -> Report:
        """Try the whole source."""
        return await self._connector.test()

    async def aclose(self) -> None:
        """Close what is open."""
        await self._connector.aclose()
