"""A process of its own that announces: `python -m tests.signals.announcer URL QUEUE [REDIS]`."""

import sys

from sqlalchemy import text

from milepost.redis import Link
from milepost.settings import RedisSettings
from milepost.signals import Signal, Topic, open_signals
from milepost.store.database import open_database


def main(url: str, queue: str, redis: str | None = None) -> None:
    database = open_database(url)
    link = Link(RedisSettings(url=redis)) if redis else None
    signals = open_signals(database, link)
    with database.begin() as conn:
        # SQLite's other processes see the commit of a change.
        conn.execute(text("UPDATE milepost_store SET id = id"))
        signals.announce(conn, Signal(Topic.AVAILABLE, queue))
    signals.close()
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
