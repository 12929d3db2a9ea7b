"""The contract on BullMQ, on both databases."""

from collections.abc import AsyncIterator, Iterator

import pytest

from milepost import JobDefinition
from milepost.brokers import Broker
from milepost.brokers.bullmq import BullmqBroker
from milepost.jobs.registry import Registry
from milepost.redis import Link
from milepost.settings import RedisSettings
from milepost.signals import RedisSignals
from tests.brokers.contract import BrokerContract, Line
from tests.store.store import Store


def definition(kind: str) -> JobDefinition[dict[str, int], None, int]:
    def work(ctx: object, args: dict[str, int]) -> int:
        raise NotImplementedError

    return JobDefinition(kind, args=dict[str, int], checkpoint=type(None), result=int, handler=work)


@pytest.fixture
def link(redis_settings: RedisSettings) -> Iterator[Link]:
    link = Link(redis_settings)
    yield link
    link.close()


@pytest.fixture
async def line(store: Store, link: Link) -> AsyncIterator[Line]:
    signals = RedisSignals(store.database, link)

    def open_broker(worker: str, kinds: tuple[str, ...]) -> Broker:
        registry = Registry([definition(kind) for kind in kinds])
        return BullmqBroker(link, store.database, signals, registry, worker_id=worker)

    line = Line(store, open_broker)
    yield line
    await line.aclose()
    signals.close()


class TestBullmqBroker(BrokerContract):
    """The contract."""
