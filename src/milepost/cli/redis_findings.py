"""What `milepost doctor` looks at in Redis, what it means, and what to set."""

import statistics
import time
from collections.abc import Iterator
from typing import Final

from sqlalchemy.exc import DBAPIError

from milepost.cli.findings import Finding
from milepost.errors import ConfigurationError, MilepostError, RedisAway
from milepost.redis import Link
from milepost.store import reading
from milepost.store.database import Database

SLOW_MS: Final = 5.0
CLOCKS_AGREE: Final = 2.0
PINGS: Final = 20


def look_at_redis(link: Link, database: Database) -> list[Finding]:
    """Check the Redis of the settings."""
    # Without the extra there would have been no broker, and no doctor.
    from milepost.brokers.bullmq.fitness import problems, read_info

    try:
        info = read_info(link)
        findings = [
            Finding("redis", False, f"{link.name} {problem}", todo)
            for problem, todo in problems(link)
        ]
        return [*findings, *_look(link, info), *_owner(link, database)]
    except RedisAway as away:
        todo = "see that REDIS_URL or REDIS_HOST is right and the server runs; until then workers "
        return [Finding("redis", False, str(away), todo + "take jobs from the store, a bit later")]


def _look(link: Link, info: dict[str, str]) -> Iterator[Finding]:
    took = []
    for _ in range(PINGS):
        began = time.perf_counter()
        link.call("PING")
        took.append((time.perf_counter() - began) * 1000)
    middle = statistics.median(took)
    version = info.get("valkey_version") or info.get("redis_version", "unknown")
    yield Finding(
        "redis", middle < SLOW_MS, f"{link.name}, version {version}, answers in {middle:.1f} ms",
        "every batch of jobs waits so long twice: is it far away, or overloaded?",
    )  # fmt: skip
    yield Finding("redis persistence", True, _persistence(info))
    seconds, microseconds = link.call("TIME")
    apart = abs(time.time() - int(seconds) - int(microseconds) / 1e6)
    yield Finding(
        "redis clock", apart < CLOCKS_AGREE, f"this host and Redis are {apart:.1f} s apart",
        "delayed jobs begin so much early or late: set up NTP",
    )  # fmt: skip


def _persistence(info: dict[str, str]) -> str:
    if info.get("aof_enabled") == "1":
        return "appends to its log: a restart loses a second at most"
    if info.get("rdb_last_save_time") and info.get("rdb_saves", "0") != "0":
        return "snapshots only: what a restart loses is sent again from the store"
    return (
        "none: a restart is sent everything again from the store, but loses what other programs "
        "have added and no worker has taken; if they do, set appendonly yes"
    )


def _owner(link: Link, database: Database) -> Iterator[Finding]:
    from milepost.brokers.bullmq.fitness import ensure_owned

    try:
        with database.read() as conn:
            store_id = reading.store_id(conn)
        ensure_owned(link, store_id)
    except ConfigurationError as error:
        problem, _, todo = str(error).rpartition(": ")
        yield Finding("redis prefix", False, problem, todo)
    except (DBAPIError, MilepostError):
        return
    else:
        yield Finding("redis prefix", True, f"{link.settings.prefix} serves this store")
