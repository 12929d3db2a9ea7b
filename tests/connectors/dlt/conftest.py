import gc
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from milepost.connectors import (
    Access,
    Connector,
    Cursor,
    Page,
    Secrets,
    open_connector,
    source_from,
)
from tests.connectors.dlt import shop


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    shop.SEEN.clear()
    monkeypatch.setenv("SOURCES__SHOP__TOKEN", "from dlt's own configuration")
    # The sources' own patience is long.
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "1")
    with warnings.catch_warnings():
        # dlt's own sources use what it deprecates, and leave sessions to the garbage collector.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        for each in threading.enumerate():
            if each.name.startswith("milepost-dlt"):
                each.join(10)
        gc.collect()


def opened(
    name: str = "shop", *, env: Mapping[str, str] | None = None, **options: Any
) -> Connector:
    address = f"dlt:{name}" if name.startswith("dlt.") else f"dlt:tests.connectors.dlt.shop.{name}"
    source = source_from(address, **{"page_size": 5, **options})
    return open_connector(source, Access(secrets=Secrets(env or {})))


async def pages_of(connector: Connector, table: str, after: Cursor = None) -> list[Page]:
    return [page async for page in connector.pages(table, after=after)]


def ids(pages: list[Page], key: str = "id") -> list[Any]:
    return [record[key] for page in pages for record in page.records]
