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
    largest_args: int,
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
    return BullmqBroker(
        link, database, signals, registry,
        worker_id=worker_id, largest_args=largest_args, renewing=renewing,
    )  # fmt: skip


async def ensure_fit(link: Link, database: Database, *, to_work: bool) -> None:
    """Refuse a Redis of another store, and one that a worker must not use. Raises RedisUnfit.

    One that is away is no reason not to start: the store has the jobs.
    """
    from milepost.brokers.bullmq import fitness

    store_id = await database.query(reading.store_id)
    ensure = fitness.ensure_fit if to_work else fitness.ensure_owned
    try:
        await database.on_thread(lambda: ensure(link, store_id))
    except RedisAway:
        return
