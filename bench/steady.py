"""Fifteen minutes at 1,000 jobs a second on PostgreSQL: does anything grow, or get slower?

    python bench/steady.py [--minutes 15] [--rate 1000] [--plain]

A private server whose commits reach the disk (fsync and autovacuum on), one worker process, and
this process, which submits 100 jobs every tenth of a second. One job in ten saves a checkpoint
twice. Workers keep the last 50,000 completed jobs, so that all beyond those is deleted meanwhile.

Once a minute: jobs that ended in it, how long those of the last 5 s had waited, sizes and dead
rows, and what four statements take on these tables (milliseconds, median of 20). `--plain` takes
away what Milepost sets on its tables, to see what that does.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from sqlalchemy import Connection, text
from tests.servers import postgres_server

from milepost import Database, JobContext, Keep, Milepost, Retention, Settings, WorkerSettings, job
from milepost.jobs.states import JobState
from milepost.store import jobs, overview, reading, schema, summaries
from milepost.store.filters import JobFilter
from sides import worker_process

KEPT = 50_000
AT_ONCE = 100
TABLES = ("milepost_jobs", "milepost_attempts")


@job("works", retention=Retention(completed=Keep(count=KEPT)))
async def works(ctx: JobContext[int], args: int) -> int:
    if args % 10 == 0:
        await ctx.save(1)
        await ctx.save(2)
    return args


def application(url: str) -> Milepost:
    settings = Settings(database_url=url, worker=WorkerSettings(concurrency=200))
    return Milepost([works], settings=settings, observers=())


async def submit(milepost: Milepost, rate: int, until: float) -> None:
    turn, number = AT_ONCE / rate, 0
    due = time.monotonic()
    while due < until:
        await milepost.submit_many(works, range(number, number + AT_ONCE))
        number += AT_ONCE
        due += turn
        await asyncio.sleep(max(0, due - time.monotonic()))


def timed(database: Database, act: Callable[[Connection], Any]) -> float:
    took = []
    for _ in range(20):
        with database.engine.connect() as conn:
            began = time.perf_counter()
            act(conn)
            took.append(time.perf_counter() - began)
            conn.rollback()
    return 1000 * statistics.median(took)


def statements(database: Database) -> dict[str, float]:
    def claim(conn: Connection) -> None:
        jobs.claim(
            conn, database.clock, queue="default", kinds=["works"], limit=10,
            lease_for=timedelta(seconds=15), worker_id="bench",
        )  # fmt: skip

    newest = JobFilter(states=(JobState.COMPLETED,), kind="works")
    return {
        "claim": timed(database, claim),
        "list": timed(database, lambda conn: summaries.newest(conn, newest)),
        "queues": timed(database, overview.queues),
        "due": timed(database, lambda conn: jobs.promote(conn, database.clock, limit=100)),
    }


SIZES = """
SELECT relname, pg_table_size(relid) / 1e6 AS heap, pg_indexes_size(relid) / 1e6 AS indexes,
  n_live_tup AS live, n_dead_tup AS dead, n_tup_upd AS updated, n_tup_hot_upd AS hot,
  autovacuum_count AS vacuums
FROM pg_stat_user_tables WHERE relname = ANY(:tables) ORDER BY relname DESC
"""
WAITS = """
SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (
  ORDER BY 1000 * extract(epoch FROM started_at - created_at))
FROM milepost_jobs WHERE state = 'completed' AND finished_at > now() - interval '5 s'
"""


def look(database: Database, minute: int, ended: int) -> None:
    with database.read() as conn:
        counted = reading.counts(conn)
        waits = conn.execute(text(WAITS)).scalar() or (0, 0)
        sizes = conn.execute(text(SIZES), {"tables": list(TABLES)}).all()
    there = sum(count for (_, state), count in counted.items() if state == "completed")
    waiting = sum(count for (_, state), count in counted.items() if state == "available")
    told = "  ".join(f"{name} {took:.1f}" for name, took in statements(database).items())
    print(
        f"{minute:>3} min  {ended / 60:>6,.0f} jobs/s  {there:>7,} kept {waiting:>6,} wait  "
        f"waited p50/p99 {waits[0]:.0f}/{waits[1]:.0f} ms  {told}"
    )
    for row in sizes:
        hot = row.hot / row.updated if row.updated else 0
        print(
            f"          {row.relname:<18} {row.heap:>6.1f} MB, indexes {row.indexes:>6.1f} MB, "
            f"{row.live:>7,} live {row.dead:>7,} dead, {hot:.0%} HOT, {row.vacuums} vacuums"
        )
    sys.stdout.flush()


def ended_so_far(database: Database) -> int:
    """How many have ended, also of those that were deleted: nothing else moves their sequence."""
    with database.read() as conn:
        counted = reading.counts(conn)
        submitted = conn.execute(text("SELECT last_value FROM milepost_jobs_id_seq")).scalar_one()
    unfinished = sum(
        count for (_, state), count in counted.items() if state in ("available", "running")
    )
    return int(submitted) - unfinished


async def measure(url: str, given: argparse.Namespace) -> None:
    milepost = application(url)
    database = milepost.database
    schema.migrate(database)
    if given.plain:
        with database.begin() as conn:
            plain(conn)
    async with milepost:
        with worker_process(application, url):
            end = time.monotonic() + 60 * given.minutes
            submitting = asyncio.create_task(submit(milepost, given.rate, end))
            began, before = time.monotonic(), 0
            for minute in range(1, given.minutes + 1):
                await asyncio.sleep(began + 60 * minute - time.monotonic())
                ended = await asyncio.to_thread(ended_so_far, database)
                await asyncio.to_thread(look, database, minute, ended - before)
                before = ended
            await submitting


def plain(conn: Connection) -> None:
    """Take all settings of storage away."""
    for name, options in conn.execute(
        text("SELECT relname, reloptions FROM pg_class WHERE relkind = 'r' AND reloptions NOTNULL")
    ).all():
        names = ", ".join(option.partition("=")[0] for option in options)
        conn.execute(text(f"ALTER TABLE {name} RESET ({names})"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=15)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--plain", action="store_true")
    given = parser.parse_args()
    with postgres_server(durable=True) as server:
        asyncio.run(measure(server.create_database(), given))


if __name__ == "__main__":
    main()
