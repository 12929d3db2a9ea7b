"""Chooses the broker: BullMQ where there is a Redis, else the store itself."""

from milepost.brokers.broker import Broker
from milepost.brokers.sql import SqlBroker
from milepost.errors import ConfigurationError, RedisAway
from milepost.jobs.registry import Registry
from milepost.redis import Link
from milepost.signals import Signals
from milepost.store import reading
from milepost.store.database import Database


def open_broker(
    link: Link | None,
    database: Database,
    signals: Signals,
    registry: Registry,
    *,
    worker_id: str,
    renewing: Database | None = None,
) -> Broker:
    """Make a broker; it connects when first used. Raises ConfigurationError.

    A worker gives `renewing`: the same store, with a thread and a connection that do nothing else.
    """
    if link is None:
        return SqlBroker(
            database, signals, kinds=registry.kinds, worker_id=worker_id, renewing=renewing
        )
    try:
        from milepost.brokers.bullmq import BullmqBroker
    except ModuleNotFoundError:
        raise ConfigurationError(
            "with Redis the queue is BullMQ, whose package is missing: "
            "pip install 'milepost[redis]'"
        ) from None
    return BullmqBroker(link, database, signals, registry, worker_id=worker_id, renewing=renewing)


async def ensure_fit(link: Link, database: Database) -> None:
    """Refuse a Redis that a worker must not use. Raises RedisUnfit.

    One that is away is no reason not to start: the store has the jobs.
    """
    from milepost.brokers.bullmq import ensure_fit as ensure

    store_id = await database.query(reading.store_id)
    try:
        await database.on_thread(lambda: ensure(link, store_id))
    except RedisAway:
        return
