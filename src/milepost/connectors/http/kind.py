"""Sources that answer in JSON over HTTP."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from milepost.connectors.connector import Connector
from milepost.connectors.files.addresses import is_file_url
from milepost.connectors.http.declaring import read_source
from milepost.connectors.http.source import HttpSource
from milepost.connectors.kinds import Access, Kind
from milepost.errors import FatalConnectorError


def _describe(address: str, tables: Sequence[str]) -> dict[str, Any] | None:
    """Read a URL, or `rest:FILE` with a description.

    Each of `tables` is `orders`, appended to the URL, or `orders=sales/v2/orders`; of a file's
    tables it is a choice.
    """
    if address.startswith("rest:"):
        return read_source(Path(address.removeprefix("rest:")).expanduser(), tables)
    if not re.match(r"https?://|\$", address) or is_file_url(address):
        return None
    paths: dict[str, str] = {}
    for table in tables:
        name, equals, path = table.partition("=")
        if not equals or "?" in name:
            name, path = table.partition("?")[0], table
        name = name.rstrip("/").rpartition("/")[2]
        if name in paths:
            raise FatalConnectorError(f"two tables are named {name!r}: write NAME=PATH")
        paths[name] = path
    return {"url": address, "tables": paths}


def _open(source: HttpSource, access: Access) -> Connector:
    # Not before: the HTTP client takes a tenth of a second to import.
    from milepost.connectors.http.connector import HttpConnector

    return HttpConnector(source, access)


KIND = Kind(name="http", source=HttpSource, describe=_describe, open=_open)
