"""Sources that are Singer taps."""

from collections.abc import Sequence
from typing import Any

from milepost.connectors.kinds import Access, Kind
from milepost.connectors.singer.connector import SingerConnector
from milepost.connectors.singer.source import SingerSource

_PREFIX = "singer:"


def _describe(address: str, tables: Sequence[str]) -> dict[str, Any] | None:
    """Read `singer:tap-name` or `singer:path/to/tap`."""
    if not address.startswith(_PREFIX):
        return None
    return {"tap": address.removeprefix(_PREFIX), "tables": tuple(tables)}


def _open(source: SingerSource, access: Access) -> SingerConnector:
    return SingerConnector(source, access.secrets, on_log=access.on_log)


KIND = Kind(name="singer", source=SingerSource, describe=_describe, open=_open)
