"""Processes that read a source whose tokens have to be renewed; run by test_four_processes.

Forked, so that they are imported once. Each says over a socket who it is, and reads when told to.
"""

import asyncio
import os
import sys
from datetime import timedelta

from milepost.connections import Keyring, StoredTokens
from milepost.connectors import HttpSource, Secrets
from milepost.connectors.connector import Connector
from milepost.connectors.http.auth import RefreshToken
from milepost.downloads import Sources
from milepost.errors import ConnectorError
from milepost.settings import SecretKeySettings
from milepost.store.database import open_database


def open_sources(store: str, key: str) -> Sources:
    database = open_database(store)
    keyring = Keyring(SecretKeySettings(keys=key), database)
    tokens = StoredTokens(database, keyring, lease_for=timedelta(seconds=1))
    return Sources(Secrets({"REFRESH": "refresh-0", "SECRET": "s3cret"}), tokens=tokens)


async def read(connector: Connector) -> str:
    try:
        async for _ in connector.pages("orders", after=None):
            pass
    except ConnectorError as error:
        return repr(error)
    return "read"


async def main(socket: str, store: str, key: str, url: str) -> None:
    auth = RefreshToken(
        token_url=f"{url}/token", client_id="me", client_secret="$SECRET", refresh_token="$REFRESH"
    )
    source = HttpSource(url=url, tables={"orders": "orders"}, max_tries=1, auth=auth)
    connector = await open_sources(store, key).open(source)
    hears, says = await asyncio.open_unix_connection(socket)
    said = str(os.getpid())
    while True:
        says.write(f"{said}\n".encode())
        if not await hears.readline():
            return
        said = await read(connector)


if __name__ == "__main__":
    socket_, store_, key_, url_, count = sys.argv[1:]
    for _ in range(int(count)):
        if os.fork() == 0:
            asyncio.run(main(socket_, store_, key_, url_))
            os._exit(0)
    for _ in range(int(count)):
        os.wait()
