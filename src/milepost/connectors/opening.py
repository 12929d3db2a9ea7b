"""Opens the connector that reads a source."""

import asyncio
from typing import assert_never

from milepost.connectors.connector import Connector
from milepost.connectors.files.connector import FileConnector
from milepost.connectors.http.connector import HttpConnector
from milepost.connectors.http.retrying import OnWait, Sleep
from milepost.connectors.secrets import Secrets
from milepost.connectors.sources import FileSource, HttpSource, check_source


def open_connector(
    source: HttpSource | FileSource,
    secrets: Secrets,
    *,
    on_wait: OnWait | None = None,
    sleep: Sleep = asyncio.sleep,
) -> Connector:
    """Open a source; nothing is asked or read yet.

    `on_wait` is told why and how long the connector waits before it asks again.
    Raises FatalConnectorError for a source that is described badly or lacks a secret.
    """
    checked = check_source(source)
    match checked:
        case HttpSource():
            return HttpConnector(checked, secrets, on_wait=on_wait, sleep=sleep)
        case FileSource():
            return FileConnector(checked)
        case _:
            assert_never(checked)
