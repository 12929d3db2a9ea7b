"""Sources that are databases."""

from collections.abc import Sequence
from typing import Any

from milepost.connectors.kinds import Access, Kind
from milepost.connectors.sql.addresses import is_address
from milepost.connectors.sql.connector import SqlConnector
from milepost.connectors.sql.source import SqlSource


def _describe(address: str, tables: Sequence[str]) -> dict[str, Any] | None:
    """Read a database's URL; `tables` are tables and views, by name."""
    if not is_address(address):
        return None
    return {"url": address, "tables": tuple(tables)}


def _open(source: SqlSource, access: Access) -> SqlConnector:
    return SqlConnector(source, access.secrets)


KIND = Kind(name="sql", source=SqlSource, describe=_describe, open=_open)
