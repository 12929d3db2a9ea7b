"""Sources that are written for dlt."""

from collections.abc import Sequence
from typing import Any

from milepost.connectors.dlt.source import DltSource
from milepost.connectors.kinds import Access, Kind
from milepost.errors import FatalConnectorError

_PREFIX = "dlt:"


def _describe(address: str, tables: Sequence[str]) -> dict[str, Any] | None:
    """Read `dlt:module.source`."""
    if not address.startswith(_PREFIX):
        return None
    return {"source": address.removeprefix(_PREFIX), "tables": tuple(tables)}


def _open(source: DltSource, access: Access) -> Any:
    try:
        from milepost.connectors.dlt.connector import DltConnector
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "dlt":
            raise
        raise FatalConnectorError("dlt is not installed: pip install 'milepost[dlt]'") from None
    return DltConnector(source, access.secrets)


KIND = Kind(name="dlt", source=DltSource, describe=_describe, open=_open)
