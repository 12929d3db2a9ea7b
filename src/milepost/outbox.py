"""Sends what was submitted in a transaction of the caller's own, as soon as it has committed."""

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, event
from sqlalchemy.exc import SQLAlchemyError

from milepost.brokers import Broker
from milepost.jobs.leases import JobId
from milepost.store import carried
from milepost.store.database import Database

logger = logging.getLogger("milepost.brokers")

# What is not there by then was rolled back, or is left to the workers' dispatcher.
COMMITTED_WITHIN: Final = 5.0
LOOK_EVERY: Final = 0.005


class Outbox:
    """One thread, started by the first transaction that submits."""

    def __init__(self, database: Database, broker: Broker) -> None:
        self._database = database
        self._broker = broker
        self._committing: queue.SimpleQueue[Sequence[JobId] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def send_after(self, conn: Connection, job_ids: Sequence[JobId]) -> None:
        """Send jobs once the connection's transaction has committed."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="milepost-outbox", daemon=True
                )
                self._thread.start()
        # SQLAlchemy tells just before it commits; the thread looks until the rows are there.
        event.listen(conn, "commit", lambda _: self._committing.put(job_ids), once=True)

    def close(self) -> None:
        """Send what has committed, and end."""
        if self._thread is not None:
            self._closing.set()
            self._committing.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (job_ids := self._committing.get()) is not None:
            try:
                if self._are_there(job_ids):
                    asyncio.run(self._broker.send(job_ids))
            except Exception:
                # The rows are their own outbox: a worker finds them.
                logger.exception("%d jobs are stored and will be sent later", len(job_ids))

    def _are_there(self, job_ids: Sequence[JobId]) -> bool:
        deadline = time.monotonic() + COMMITTED_WITHIN
        while time.monotonic() < deadline:
            with contextlib.suppress(SQLAlchemyError), self._database.read() as conn:
                if carried.read(conn, self._database.clock, job_ids[:1]):
                    return True
            if self._closing.wait(LOOK_EVERY):
                # The workers' dispatcher finds what commits later.
                return False
        return False
