"""An hour in the life of a shop's jobs, written into a store at once."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import to_json
from sqlalchemy import insert

from milepost.store import schema, tables
from milepost.store.database import open_database

KINDS = {"import-orders": "imports", "send-report": "reports", "resize-images": "images"}
ERRORS = ("ReadTimeout: page 12 did not come", "ValueError: amount is no number: 'n/a'")


def fill(url: str) -> None:
    """Make the store, with 600 jobs that ended in the last hour, 30 that wait, and samples."""
    database = open_database(url)
    schema.migrate(database)
    chance, now = random.Random(3), datetime.now(UTC)
    with database.begin() as conn:
        conn.execute(insert(tables.jobs), [*_ended(chance, now), *_waiting(chance, now)])
        conn.execute(insert(tables.queue_samples), _samples(chance, now))
        conn.execute(insert(tables.paused_queues).values(queue="reports", paused_at=now))
    database.close()


def _ended(chance: random.Random, now: datetime) -> list[dict[str, Any]]:
    progress = to_json({"count": 4800, "total": 4800, "message": "orders", "parts": {}}).decode()
    rows = []
    for end in sorted(now - timedelta(minutes=chance.uniform(1, 59)) for _ in range(600)):
        [state] = chance.choices(["completed", "failed", "cancelled"], [90, 7, 3])
        busy = 15 < (now - end).total_seconds() / 60 < 28
        began = end - timedelta(seconds=chance.expovariate(1 / 8))
        due = began - timedelta(seconds=chance.expovariate(1 / 40 if busy else 1 / 3))
        error = chance.choice(ERRORS) if state == "failed" else None
        rows.append(
            _row(chance, state, due)
            | {"attempt": 1, "error": error, "started_at": began, "finished_at": end,
               "progress": progress}
        )  # fmt: skip
    return rows


def _waiting(chance: random.Random, now: datetime) -> list[dict[str, Any]]:
    return [_row(chance, "available", now - timedelta(seconds=9 * n)) for n in range(30)]


def _row(chance: random.Random, state: str, due: datetime) -> dict[str, Any]:
    kind = chance.choice(list(KINDS))
    return {
        "kind": kind, "queue": KINDS[kind], "state": state, "args": "{}", "max_attempts": 3,
        "created_at": due, "run_at": due, "attempt": 0, "error": None, "started_at": None,
        "finished_at": None, "progress": None,
    }  # fmt: skip


def _samples(chance: random.Random, now: datetime) -> list[dict[str, Any]]:
    rows = []
    for ago in range(60):
        at = (now - timedelta(minutes=ago)).replace(second=0, microsecond=0)
        depth = round(chance.uniform(20, 35)) + (45 if 15 < ago < 28 else 0)
        for queue, share in (("", 1.0), ("imports", 0.5), ("images", 0.3)):
            available = round(depth * share)
            rows.append(
                {"queue": queue, "at": at, "available": available, "oldest_wait": depth * 2.5}
            )
    return rows
