"""Who must know at once: cancel, progress, wake-up."""

from milepost.signals.postgres import PostgresSignals
from milepost.signals.signal import Listener, Signal, Signals, Topic
from milepost.signals.sqlite import SqliteSignals
from milepost.store.database import Database

__all__ = ["Listener", "Signal", "Signals", "Topic", "open_signals"]


def open_signals(database: Database) -> Signals:
    """Choose how processes on this store tell each other."""
    return SqliteSignals(database) if database.is_sqlite else PostgresSignals(database)
