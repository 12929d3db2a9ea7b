from collections.abc import AsyncIterator, Iterator

import pytest

from milepost.redis import Link
from milepost.settings import RedisSettings
from tests.brokers.bullmq_line import BullmqLine
from tests.store.fixtures import (
    clock,
    database,
    destination,
    destination_url,
    postgres_store_url,
    postgres_template,
    sqlite_store_url,
    sqlite_template,
    store,
    store_url,
)
from tests.store.store import Store

__all__ = [
    "clock",
    "database",
    "destination",
    "destination_url",
    "postgres_store_url",
    "postgres_template",
    "sqlite_store_url",
    "sqlite_template",
    "store",
    "store_url",
]


@pytest.fixture
def link(redis_settings: RedisSettings) -> Iterator[Link]:
    link = Link(redis_settings)
    yield link
    link.close()


@pytest.fixture
async def bullmq_line(store: Store, link: Link) -> AsyncIterator[BullmqLine]:
    line = BullmqLine(store, link)
    yield line
    await line.aclose()
