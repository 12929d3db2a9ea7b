"""Real taps, and airbyte-cdk, for the tests: each in an environment of its own in this clone.

As a program (`python -m tests.taps`) it installs what is missing, as `--option package=…` does.
"""

import asyncio
import os
from pathlib import Path
from typing import Final

from milepost.connectors import Access, Secrets, open_connector, source_from
from milepost.connectors.airbyte.connector import AirbyteConnector
from milepost.connectors.airbyte.source import PACKAGE
from milepost.connectors.programs.installing import cache_of
from milepost.connectors.singer.connector import SingerConnector

CACHE: Final = Path(__file__).parent.parent / ".servers" / "cache"

PACKAGES: Final = {
    # On the Singer SDK, reading files.
    "tap-jsonl": "tap-jsonl==0.3.1",
    # On an older Singer SDK, which needs pkg_resources, reading an API.
    "tap-rest-api-msdk": "tap-rest-api-msdk==1.4.2 setuptools<80",
    # On singer-python, with a catalog of the older style.
    "tap-rest-api": "tap-rest-api==0.2.22",
}


async def install() -> None:
    """Install those taps that are missing."""
    async with asyncio.TaskGroup() as group:
        for tap, package in PACKAGES.items():
            group.create_task(_install(f"singer:{tap}", package))


async def install_airbyte() -> None:
    """Install airbyte-cdk, if it is missing."""
    await _install("airbyte:any.yaml", PACKAGE)


async def _install(address: str, package: str) -> None:
    os.environ["XDG_CACHE_HOME"] = str(CACHE)
    if not (cache_of(package) / ".ready").exists():
        print(f"Installing {package} for the tests …", flush=True)
    source = source_from(address, package=package)
    connector = open_connector(source, Access(secrets=Secrets({}), on_log=print))
    assert isinstance(connector, SingerConnector | AirbyteConnector)
    await connector.install()


async def _all() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(install())
        group.create_task(install_airbyte())


if __name__ == "__main__":
    asyncio.run(_all())
