"""Sources that are declarative manifests of Airbyte."""

from collections.abc import Sequence
from typing import Any

from milepost.connectors.airbyte.connector import AirbyteConnector
from milepost.connectors.airbyte.source import AirbyteSource
from milepost.connectors.kinds import Access, Kind

_PREFIX = "airbyte:"


def _describe(address: str, tables: Sequence[str]) -> dict[str, Any] | None:
    """Read `airbyte:path/to/manifest.yaml`."""
    if not address.startswith(_PREFIX):
        return None
    return {"manifest": address.removeprefix(_PREFIX), "tables": tuple(tables)}


def _open(source: AirbyteSource, access: Access) -> AirbyteConnector:
    return AirbyteConnector(source, access.secrets, on_log=access.on_log)


KIND = Kind(name="airbyte", source=AirbyteSource, describe=_describe, open=_open)
