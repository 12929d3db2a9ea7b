"""Who must know at once: cancel, progress, wake-up."""

from milepost.redis import Link
from milepost.signals.postgres import PostgresSignals
from milepost.signals.redis import RedisSignals
from milepost.signals.signal import Listener, Signal, Signals, Topic
from milepost.signals.sqlite import SqliteSignals
from milepost.store.database import Database

__all__ = ["Listener", "RedisSignals", "Signal", "Signals", "Topic", "open_signals"]


def open_signals(database: Database, link: Link | None = None) -> Signals:
    """Choose how processes on this store tell each other; `link` is the way to Redis."""
    if link is not None:
        return RedisSignals(database, link)
    return SqliteSignals(database) if database.is_sqlite else PostgresSignals(database)
