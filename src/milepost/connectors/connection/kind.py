"""Sources that the store knows by name."""

from collections.abc import Sequence
from typing import Any, Final, NoReturn

from milepost.connectors.connection.source import ConnectionSource
from milepost.connectors.kinds import Access, Kind
from milepost.errors import FatalConnectorError

SCHEME: Final = "connection:"


def _describe(address: str, tables: Sequence[str]) -> dict[str, Any] | None:
    """Read `connection:NAME`; `tables` chooses among those of the connection."""
    if not address.startswith(SCHEME):
        return None
    name = address.removeprefix(SCHEME)
    described = [table for table in tables if "=" in table or "?" in table]
    if described:
        raise FatalConnectorError(
            f"{address} has its tables by name, without a path: not {', '.join(described)}"
        )
    return {"name": name, "tables": tuple(tables)}


def _open(source: ConnectionSource, _: Access) -> NoReturn:
    raise FatalConnectorError(
        f"the connection {source.name!r} is in a store, and can be opened by a worker of that "
        "store only, and not from within another connection"
    )


KIND = Kind(
    name="connection", source=ConnectionSource, describe=_describe, open=_open,
    options_into="options",
)  # fmt: skip
