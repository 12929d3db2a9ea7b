"""What others hear of jobs that have moved because another one did."""

from typing import Final

from sqlalchemy import Connection

from milepost.brokers.broker import Broker
from milepost.jobs.leases import JobId
from milepost.signals import Signal, Signals, Topic
from milepost.store import children
from milepost.store.database import Database
from milepost.store.flows import Moved

MOST_AT_ONCE: Final = 500
MOST_PARENTS: Final = 100


def announce(conn: Connection, signals: Signals, moved: Moved) -> None:
    """Tell of them with the commit."""
    for queue in sorted(set(moved.available.values())):
        signals.announce(conn, Signal(Topic.AVAILABLE, queue))
    if moved.ended:
        signals.announce(conn, Signal(Topic.SETTLED, job_ids=tuple(moved.ended)))
    if moved.told:
        signals.announce(conn, Signal(Topic.CANCEL, job_ids=tuple(moved.told)))
    if moved.stopping:
        signals.announce(conn, Signal(Topic.STOPPING))


async def stop_children(database: Database, signals: Signals, broker: Broker) -> None:
    """Cancel the children of jobs that have ended so, and theirs, a little at a time.

    What cannot be had now, because somebody just writes there, is left to the next call.
    """

    def stop(conn: Connection, job_id: JobId) -> tuple[int, Moved]:
        moved = Moved()
        count = children.stop(conn, database.clock, job_id, limit=MOST_AT_ONCE, moved=moved)
        announce(conn, signals, moved)
        return count, moved

    more = True
    while more and (parents := await database.query(children.stopping, limit=MOST_PARENTS)):
        more = False
        for parent in parents:
            count = 1
            while count:
                count, moved = await database.run(stop, parent)
                await broker.send(moved.job_ids)
                more = more or count > 0
